"""A witness cosigns a log only as long as the log only grows."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.ledger import (
    Cosigner,
    Frontier,
    Signer,
    checkpoint,
    consistency_path,
    consistency_text,
    leaf_hash,
    subtrees,
)
from interlock.model.errors import HomeUnusable, InvalidInput
from interlock.verify.cosignature import WitnessKey
from interlock.verify.note import Key, Note
from interlock.witness import Answer, Folder, Seen, Store, add_checkpoint

ORIGIN = "example.com/log"
LOG = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
NEXT = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
STRANGER = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(32)))
COSIGNER = Cosigner("w.example/1", Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34))))
LEAVES = [leaf_hash(b"entry %d" % number) for number in range(100)]
FORKED = [*LEAVES[:5], *(leaf_hash(b"other %d" % number) for number in range(95))]
SIZE = "text/x.tlog.size"


def note(size: int, leaves: list[bytes] = LEAVES, signer: Signer = LOG) -> str:
    return signer.sign(checkpoint(ORIGIN, size, Frontier.EMPTY.appended(leaves[:size]).root()))


def request(old: int, size: int, leaves: list[bytes] = LEAVES, signer: Signer = LOG) -> bytes:
    proof = subtrees(consistency_path(min(old, size), size), leaves[:size])
    return consistency_text(old, proof, note(size, leaves, signer)).encode()


class Witness:
    """One witness on a real store, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ask(self, raw: bytes, at: int = 1_700_000_000) -> Answer:
        # A new store each time: what counts is on disk.
        return add_checkpoint(
            raw,
            logs={ORIGIN: [Key.parse(LOG.vkey), Key.parse(NEXT.vkey)]},
            store=Store(self.folder / "seen.db"),
            cosigner=COSIGNER,
            now=lambda: at,
        )


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return Witness(tmp_path)


def test_a_log_that_grows_is_cosigned_with_the_time_of_the_witness(witness: Witness) -> None:
    for at, (old, size) in enumerate([(0, 3), (3, 8), (8, 8), (8, 9), (9, 100)], 1_700_000_000):
        answer = witness.ask(request(old, size), at)
        assert answer.status == 200, answer
        cosigned = Note.parse((note(size) + answer.body).encode())
        assert WitnessKey.parse(COSIGNER.vkey).cosigned(cosigned) == at


def test_the_old_size_has_to_be_what_was_cosigned_last(witness: Witness) -> None:
    assert witness.ask(request(4, 8)) == Answer(409, "0\n", SIZE)
    assert witness.ask(request(0, 8)).status == 200
    for old in (0, 4, 7):
        assert witness.ask(request(old, 8)) == Answer(409, "8\n", SIZE)
        assert witness.ask(request(old, 20)) == Answer(409, "8\n", SIZE)
    # Rolled back: a smaller log, whether it says so or not.
    assert witness.ask(request(4, 6)) == Answer(409, "8\n", SIZE)
    assert witness.ask(request(8, 6)).status == 400
    assert witness.ask(request(8, 20)).status == 200


def test_a_fork_is_refused_however_it_is_shown(witness: Witness) -> None:
    assert witness.ask(request(0, 8)).status == 200
    assert witness.ask(request(8, 8, FORKED)) == Answer(409, "8\n", SIZE)
    assert witness.ask(request(8, 20, FORKED)).status == 422
    assert witness.ask(request(0, 20, FORKED)).status == 409
    honest_proof = subtrees(consistency_path(8, 20), LEAVES[:20])
    assert witness.ask(consistency_text(8, honest_proof, note(20, FORKED)).encode()).status == 422
    assert witness.ask(request(8, 20)).status == 200


def test_a_fork_at_the_same_size_is_told_to_whoever_runs_the_witness(
    witness: Witness, caplog: pytest.LogCaptureFixture
) -> None:
    witness.ask(request(0, 8))
    witness.ask(request(8, 8, FORKED))
    assert "signed two roots for 8 entries" in caplog.text


def test_an_empty_log_has_one_root_only(witness: Witness) -> None:
    assert witness.ask(request(0, 0)).status == 200
    forged = LOG.sign(checkpoint(ORIGIN, 0, bytes(32)))
    assert witness.ask(f"old 0\n\n{forged}".encode()).status == 409


def test_a_proof_from_nothing_is_empty(witness: Witness) -> None:
    raw = consistency_text(0, [bytes(32)], note(8)).encode()
    assert witness.ask(raw).status == 422


def test_only_a_known_log_and_its_own_keys_are_believed(witness: Witness) -> None:
    assert witness.ask(request(0, 8, signer=STRANGER)).status == 403
    other = Signer("example.com/other", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    assert witness.ask(f"old 0\n\n{other.sign(checkpoint(other.name, 1, LEAVES[0]))}".encode()).status == 404
    # A second key of the same log, as after a rotation, and signatures of strangers beside a good one.
    assert witness.ask(request(0, 8, signer=NEXT)).status == 200
    strange = STRANGER.sign(note(9).split("\n\n")[0] + "\n").split("\n\n")[1]
    assert witness.ask(request(8, 9) + strange.encode()).status == 200


def test_a_false_signature_in_the_name_of_the_log_is_refused(witness: Witness) -> None:
    line = note(7).split("\n\n")[1]
    assert witness.ask(request(0, 8) + line.encode()).status == 403


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"old 0\n",
        b"old\n\n",
        b"old 00\n\n" + note(1).encode(),
        b"old -1\n\n" + note(1).encode(),
        b"old 0\r\n\r\n" + note(1).encode(),
        b"old 18446744073709551616\n\n" + note(1).encode(),
        b"old 0\nAAAA\n\n" + note(1).encode(),
        b"old 0\n\n" + note(1).encode()[:-1],
        b"old 0\n\n" + note(1).split("\n\n")[0].encode(),
        b"old 0\n\n\xff" + note(1).encode(),
        b"old 0\n" + b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n" * 64 + b"\n" + note(1).encode(),
    ],
)
def test_what_is_no_request_is_400_and_changes_nothing(witness: Witness, raw: bytes) -> None:
    assert witness.ask(raw).status == 400
    assert Store(witness.folder / "seen.db").seen(ORIGIN) is None


@given(steps=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.booleans()), max_size=12))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_all_that_is_cosigned_is_one_history(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]]
) -> None:
    witness = Witness(tmp_path_factory.mktemp("witness"))
    cosigned: list[tuple[int, bytes]] = []
    for old, size, forked in steps:
        leaves = FORKED if forked else LEAVES
        if witness.ask(request(old, size, leaves)).status == 200:
            cosigned.append((size, Frontier.EMPTY.appended(leaves[:size]).root()))
    assert [size for size, _ in cosigned] == sorted(size for size, _ in cosigned)
    both = [
        {Frontier.EMPTY.appended(leaves[:size]).root() for size, _ in cosigned} for leaves in (LEAVES, FORKED)
    ]
    assert any({root for _, root in cosigned} <= history for history in both)


def test_of_two_continuations_asked_for_at_once_one_is_cosigned(witness: Witness) -> None:
    assert witness.ask(request(0, 4)).status == 200
    for size in range(5, 15):
        seen = Store(witness.folder / "seen.db").seen(ORIGIN)
        assert seen is not None
        start = threading.Barrier(2)
        answers: list[int] = []

        def ask(
            leaves: list[bytes], old: int, size: int, start: threading.Barrier, answers: list[int]
        ) -> None:
            raw = request(old, size, leaves)
            start.wait()
            answers.append(witness.ask(raw).status)

        # Both continue what was seen, until one of the two is it.
        threads = [
            threading.Thread(target=ask, args=(leaves, seen.size, size, start, answers))
            for leaves in (LEAVES, FORKED)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) in ([200, 409], [200, 422])


def test_a_turn_waits_until_the_one_before_is_over(tmp_path: Path) -> None:
    read: list[Seen | None] = []

    def later() -> None:
        with Store(tmp_path / "seen.db").turn(ORIGIN) as turn:
            read.append(turn.seen)

    with Store(tmp_path / "seen.db").turn(ORIGIN) as turn:
        waiting = threading.Thread(target=later)
        waiting.start()
        waiting.join(0.3)
        assert read == []
        turn.replace(Seen(4, bytes(32), "the first"))
    waiting.join()
    assert read == [Seen(4, bytes(32), "the first")]


def test_a_turn_that_fails_leaves_what_was_seen(tmp_path: Path) -> None:
    witness = Witness(tmp_path)
    witness.ask(request(0, 4))
    store = Store(tmp_path / "seen.db")
    with pytest.raises(ValueError, match="out of range"):
        add_checkpoint(
            request(4, 8),
            logs={ORIGIN: [Key.parse(LOG.vkey)]},
            store=store,
            cosigner=COSIGNER,
            now=lambda: (_ for _ in ()).throw(ValueError("out of range")),
        )
    seen = store.seen(ORIGIN)
    assert seen is not None
    assert seen.size == 4


# --- the folder --------------------------------------------------------------------------------------------


def test_a_folder_keeps_its_key_its_name_and_its_logs(tmp_path: Path) -> None:
    made = Folder.open(tmp_path / "w", name="w.example/1")
    made.add_logs([LOG.vkey, NEXT.vkey, LOG.vkey])
    again = Folder.open(tmp_path / "w")
    assert again.cosigner.vkey == made.cosigner.vkey
    assert {origin: len(keys) for origin, keys in again.logs.items()} == {ORIGIN: 2}
    again.add_logs([LOG.vkey])
    assert (tmp_path / "w" / "logs").read_text().count("\n") == 2
    assert (tmp_path / "w" / "key.json").stat().st_mode & 0o777 == 0o600


def test_a_key_never_gets_a_second_name(tmp_path: Path) -> None:
    Folder.open(tmp_path / "w", name="w.example/1")
    with pytest.raises(HomeUnusable, match="keeps its name"):
        Folder.open(tmp_path / "w", name="w.example/2")


def test_a_folder_that_others_can_read_or_that_does_not_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HomeUnusable, match="no witness"):
        Folder.open(tmp_path / "w", create=False)
    with pytest.raises(InvalidInput):
        Folder.open(tmp_path / "w", name="two words")
    Folder.open(tmp_path / "w")
    file = tmp_path / "w" / "key.json"
    file.chmod(0o644)
    with pytest.raises(HomeUnusable, match="open to others"):
        Folder.open(tmp_path / "w")
    file.chmod(0o600)
    (tmp_path / "w" / "logs").write_text("nonsense\n")
    with pytest.raises(HomeUnusable, match="no usable key"):
        Folder.open(tmp_path / "w")
    (tmp_path / "w" / "logs").unlink()
    file.write_text("{}")
    with pytest.raises(HomeUnusable, match="does not read"):
        Folder.open(tmp_path / "w")


def test_the_key_of_a_witness_is_no_log(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path / "w")
    for vkey in ("nonsense", COSIGNER.vkey):
        with pytest.raises(InvalidInput):
            folder.add_logs([vkey])
    assert not (tmp_path / "w" / "logs").exists()
