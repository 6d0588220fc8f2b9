"""The publisher: what it signs, what it writes beside it, and who of several hosts does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from house import BOTH, POLICY, House
from interlock.home.publishing import NoTiles
from interlock.home.publishing.signed import Mark
from interlock.identity import KeyKind
from interlock.journal import Journal
from interlock.ledger import Frontier, entries_path, leaf_hash, tile_path
from interlock.model.errors import HomeUnusable, RecoveryRequired
from interlock.verify import verify_export
from published import files, grow, ledger_of, size_in
from server_process import ServerProcess, opened

DATABASES = BOTH


@pytest.fixture
def reads(house: House, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int | None]]:
    """Which entries are read from the journal from now on."""
    seen: list[tuple[int, int | None]] = []
    entries = Journal.entries

    def noted(self: Journal, start: int = 0, stop: int | None = None, **rest: Any) -> Iterator[bytes]:
        seen.append((start, stop))
        return entries(self, start, stop, **rest)

    monkeypatch.setattr(Journal, "entries", noted)
    return seen


# --- tiles -------------------------------------------------------------------------------------------------


def test_the_tiles_of_every_published_size_are_those_of_an_export(house: House, tmp_path: Path) -> None:
    for number in (1, 3, 250, 20, 256, 1):
        grow(house, number)
        note = house.home.publisher.publish()
        house.home.publisher.export(tmp_path / f"export{size_in(note)}", note)
        exported, written = files(tmp_path / f"export{size_in(note)}"), files(ledger_of(house))
        assert exported.items() <= written.items()
        assert verify_export(tmp_path / f"export{size_in(note)}", vkey=house.home.publisher.vkey).ok
    assert not (ledger_of(house) / f"{tile_path(0, 0)}.p").exists()  # the full tile is there


def test_an_unfinished_tile_stays_until_the_full_one_is_there_and_is_its_beginning(house: House) -> None:
    widths = []
    for _ in range(3):
        widths.append(grow(house, 2))
        house.home.publisher.publish()
    for width in widths:
        assert (ledger_of(house) / tile_path(0, 0, width)).stat().st_size == 32 * width
        assert (ledger_of(house) / entries_path(0, width)).exists()
    tiles = house.home.publisher.tiles
    before = [tiles.hashes(0, 0, width) for width in widths], [tiles.bundle(0, width) for width in widths]
    grow(house, 260)
    house.home.publisher.publish()
    assert not (ledger_of(house) / tile_path(0, 0, widths[0])).exists()
    after = [tiles.hashes(0, 0, width) for width in widths], [tiles.bundle(0, width) for width in widths]
    assert after == before
    with pytest.raises(NoTiles):
        tiles.hashes(0, 5, 1)


def test_a_round_reads_no_entry_that_was_signed_before(
    house: House, reads: list[tuple[int, int | None]]
) -> None:
    grow(house, 300)
    size = size_in(house.home.publisher.publish())
    reads.clear()
    house.home.publisher.publish()
    assert reads == []
    grown = grow(house, 5)
    house.home.publisher.publish()
    assert reads == [(size, grown)]


def test_tiles_that_were_lost_or_damaged_are_made_anew(house: House) -> None:
    grow(house, 300)
    house.home.publisher.publish()
    before, folder = files(ledger_of(house)), ledger_of(house) / "tile"
    shutil.rmtree(folder)
    house.home.publisher.publish()
    assert files(ledger_of(house)) == before
    for place in (lambda width: tile_path(0, 1, width), lambda width: entries_path(1, width)):
        path = ledger_of(house) / place(house.home.journal.head()[0] - 256)
        right = path.read_bytes()
        path.write_bytes(b"?" * len(right))
        grow(house, 1)
        house.home.publisher.publish()
        assert path.read_bytes() == right
    path = ledger_of(house) / tile_path(1, 0, 1)
    right = path.read_bytes()
    path.write_bytes(bytes(32))
    grow(house, 1)
    house.home.publisher.publish()
    assert path.read_bytes() == right


def test_lost_tiles_are_not_made_of_entries_that_were_not_signed(house: House) -> None:
    grow(house, 20)
    shown = house.home.publisher.publish()
    shutil.rmtree(ledger_of(house) / "tile")
    house.sql("UPDATE entries SET body = ? WHERE seq = ?", b'{"kind":"x"}', house.home.journal.start + 3)
    with pytest.raises(RecoveryRequired, match="not those that were signed"):
        house.home.publisher.publish()
    assert house.home.publisher.shown() == shown


def test_a_crash_after_the_tiles_and_before_the_signature_leaves_nothing_behind(house: House) -> None:
    grow(house, 250)
    house.home.publisher.publish()
    state, shown = (ledger_of(house) / "signed.json").read_bytes(), house.home.publisher.shown()
    grow(house, 10)
    house.home.publisher.publish()
    # As if the machine had stopped in between: newer tiles are there, half of them wrong, nothing was signed.
    (ledger_of(house) / "signed.json").write_bytes(state)
    (ledger_of(house) / "checkpoint").write_text(shown)
    house.sql("DELETE FROM published")
    (ledger_of(house) / tile_path(0, 0)).write_bytes(b"half")
    (ledger_of(house) / f"{entries_path(0)}.new").write_bytes(b"half")
    with pytest.raises(NoTiles):
        house.home.publisher.tiles.hashes(0, 0, 251)
    grow(house, 1)
    note = house.home.publisher.publish()
    assert house.home.publisher.tiles.tree(size_in(note)) == house.home.journal.head()[1]


def test_a_crash_between_signature_and_checkpoint_is_made_up_for(house: House) -> None:
    house.home.publisher.publish()
    shown = house.home.publisher.shown()
    grow(house, 3)
    note = house.home.publisher.publish()
    (ledger_of(house) / "checkpoint").write_text(shown)
    assert house.home.publisher.publish() == note
    (ledger_of(house) / "checkpoint").write_text(shown)
    house.sql("DELETE FROM published")  # it had not been told to anybody either
    assert house.home.publisher.publish() == note
    assert house.sql("SELECT checkpoint FROM published") == [(note,)]


@pytest.mark.parametrize("attack", ["edit", "swap", "cut", "forget"])
def test_nothing_is_signed_that_does_not_continue_what_was(house: House, attack: str) -> None:
    grow(house, 5)
    shown = house.home.publisher.publish()
    first = size_in(shown)
    grow(house, 5)
    start = house.home.journal.start + first
    if attack == "edit":
        house.sql("UPDATE entries SET body = ? WHERE seq = ?", b'{"kind":"x"}', start)
    elif attack == "swap":
        bodies = house.sql("SELECT body FROM entries WHERE seq IN (?, ?) ORDER BY seq", start, start + 1)
        for seq, (body,) in zip((start + 1, start), bodies, strict=True):
            house.sql("UPDATE entries SET body = ? WHERE seq = ?", body, seq)
    elif attack == "cut":
        tree = Frontier.EMPTY.appended(leaf_hash(b) for b in house.home.journal.entries(0, first - 1))
        house.sql("UPDATE head SET size = ?, frontier = ?", tree.size, tree.to_bytes())
    else:
        house.sql("DELETE FROM entries WHERE seq = ?", start + 2)
    with pytest.raises(HomeUnusable):
        house.home.publisher.publish()
    assert house.home.publisher.shown() == shown
    assert size_in((ledger_of(house) / "checkpoint").read_text()) == first


def test_an_entry_edited_after_it_was_signed_stops_what_would_sign_it_again(house: House) -> None:
    grow(house, 10)
    house.home.publisher.publish()
    house.sql("UPDATE entries SET body = ? WHERE seq = ?", b'{"kind":"x"}', house.home.journal.start + 3)
    with pytest.raises(RecoveryRequired):
        house.home.publisher.checkpoint_at(8)


def test_the_mark_of_one_process_does_not_step_back_behind_another(tmp_path: Path) -> None:
    one, two = Mark(tmp_path), Mark(tmp_path)
    one.note(7)
    two.note(5)  # it had committed before, and notes it later
    assert (one.read(), two.read()) == (7, 7)
    two.note(8)
    assert one.read() == 8
    one.begin(3)
    assert two.read() == 3
    one.close()
    two.close()


# --- served ------------------------------------------------------------------------------------------------


def test_tiles_are_served_as_readers_expect_them_and_entries_to_people(
    tmp_path: Path,
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    with opened(tmp_path / "home", policy) as home:
        house = House(home)
        ana = home.roster.first("Ana", by="tests")
        _, person = home.keyring.add(KeyKind.PERSON, "laptop", person=ana, by="tests")
        _, agent = home.keyring.add(KeyKind.AGENT, "support", topics=["*"], by="tests")
        size = grow(house, 600)
    for early in ("tile/0/002", "tile/0/003.p/1", "tile/entries/002"):  # as a crash leaves them: not signed
        (tmp_path / "home" / "ledger" / early).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "home" / "ledger" / early).write_bytes(bytes(8192))
    with (
        ServerProcess(tmp_path / "home", policy) as server,
        httpx.Client(base_url=f"{server.url}/ledger/", trust_env=False) as client,
    ):
        people = {"authorization": f"Bearer {person}"}
        note = client.get("checkpoint")
        assert note.headers["content-type"] == "text/plain; charset=utf-8"
        assert note.headers["cache-control"] == "no-store"
        assert size_in(note.text) == size
        full = client.get("tile/0/000")
        assert (len(full.content), full.headers["content-type"]) == (8192, "application/octet-stream")
        assert full.headers["cache-control"] == "public, no-cache"
        tag = full.headers["etag"]
        for asked in (tag, f'"other", W/{tag}'):
            kept = client.get("tile/0/000", headers={"if-none-match": asked})
            assert (kept.status_code, kept.content, kept.headers["etag"]) == (304, b"", tag)
        assert client.get("tile/0/000", headers={"if-none-match": '"other"'}).content == full.content
        part = client.get(f"tile/0/002.p/{size - 512}")
        assert part.headers["cache-control"] == "public, no-cache"
        assert len(part.content) == 32 * (size - 512)
        assert client.get("tile/0/000.p/7").content == full.content[:224]  # finished since
        assert client.get("tile/1/000.p/2").status_code == 200
        assert client.get("tile/entries/000").status_code == 401
        agents = client.get("tile/entries/000", headers={"authorization": f"Bearer {agent}"})
        assert agents.status_code == 403
        bundle = client.get("tile/entries/000", headers=people)
        assert bundle.headers["content-encoding"] == "gzip"
        assert bundle.headers["cache-control"] == "private, no-cache"
        assert bundle.content == (tmp_path / "home" / "ledger" / entries_path(0)).read_bytes()
        assert client.get("vkey").text.startswith("interlock.local/")
        (snapshot,) = {e["snapshot"] for e in _activations(bundle.content)}
        document = client.get(f"policies/{snapshot[3:]}.json", headers=people)
        assert document.status_code == 200
        assert client.get(f"policies/{snapshot[3:]}.json").status_code == 401
        assert client.get(f"policies/{'0' * 64}.json", headers=people).status_code == 404
        for path in (
            "tile/0/003",
            "tile/0/003.p/1",
            "tile/entries/002",
            f"tile/0/002.p/{size - 511}",
            "tile/0/002",
            "tile/00/000",
            "tile/64/000",
            "tile/0/0",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/007",
            "tile/0/x000/x000/x000/x000/x000/x000/x000/000",
            "tile/-1/000",
            "tile/0/%30%30%30/..",
            "tile/entries/..%2f..%2fsigned.json",
            "tile/0/..%2f..%2f..%2fkeystore%2fledger.pem",
            "tile/../signed.json",
            "tile/..%2f..%2fhome.json",
            "handovers/000",
            "handovers/..%2fmark",
            "handovers/1",
            "policies/..%2f..%2fhome.json",
            "signed.json",
        ):
            answer = client.get(path, headers=people)
            assert answer.status_code == 404, path
            assert answer.headers["content-type"] == "application/problem+json"
    with (
        ServerProcess(tmp_path / "home", policy, options=["--public-ledger"]) as server,
        httpx.Client(base_url=f"{server.url}/ledger/", trust_env=False) as client,
    ):
        shown = client.get("tile/entries/000", headers={"accept-encoding": "identity"})
        assert "content-encoding" not in shown.headers
        assert shown.headers["cache-control"].startswith("public")
        assert client.get(f"policies/{snapshot[3:]}.json").content == document.content


def _activations(bundle: bytes) -> Iterator[dict[str, Any]]:
    import json

    at = 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at : at + 2])
        entry = json.loads(bundle[at + 2 : end])
        if entry["kind"] == "policy.activated":
            yield entry
        at = end
