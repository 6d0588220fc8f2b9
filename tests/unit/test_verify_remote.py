"""A server that nobody trusts yet is not listened to without end."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from exports import ORIGIN, OTHER, SIGNER, export, failed, lives, note_of, of, root_of, told, written
from interlock.verify import Remote, Report, verify_export


def asked_of(folder: Path, **options: object) -> tuple[Report, list[str]]:
    """What a verification of a server of this folder says, and what it asked for."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        name = request.url.path.removeprefix("/ledger/")
        asked.append(name)
        file = folder / name
        content = file.read_bytes() if file.is_file() else None
        # A stream, since a response that holds its content already cannot be read raw.
        return httpx.Response(404 if content is None else 200, stream=httpx.ByteStream(content or b""))

    with Remote("https://x.example/ledger", transport=httpx.MockTransport(answer)) as log:
        return verify_export(log, **{"vkey": SIGNER.vkey, **options}), asked  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "checkpoint",
    [
        f"{ORIGIN}\n999999999999999\n{'A' * 43}=\n\n— {ORIGIN} AAAAAAAA{'A' * 84}AA==\n",
        note_of(999_999_999_999_999, bytes(32), OTHER),
        note_of(300, bytes(32), SIGNER).replace("\n300\n", "\n999999999999999\n"),
    ],
)
def test_no_tile_is_asked_for_before_a_trusted_key_signed_something(tmp_path: Path, checkpoint: str) -> None:
    export(tmp_path, lives(300))
    (tmp_path / "checkpoint").write_text(checkpoint)
    report, asked = asked_of(tmp_path)
    assert failed(report)
    assert "nothing else was read" in told(report)
    assert not [name for name in asked if name.startswith("tile")]
    assert failed(verify_export(tmp_path, vkey=SIGNER.vkey))


def test_a_log_whose_key_changed_is_read_for_its_handovers(tmp_path: Path) -> None:
    second = OTHER
    raw = list(
        written([of("ledger.key_rotated", vkey=second.vkey, previous=SIGNER.vkey, by="x"), of("link.issued")])
    )
    export(tmp_path, raw, second)
    (tmp_path / "handovers").mkdir()
    (tmp_path / "handovers/000").write_text(note_of(*root_of(raw[:1]), second, SIGNER))
    for key in (SIGNER, second):
        report, _ = asked_of(tmp_path, vkey=key.vkey)
        assert report.ok, told(report)
    (tmp_path / "handovers/000").write_text(note_of(*root_of(raw[:1]), second))
    report, asked = asked_of(tmp_path)
    assert failed(report)
    assert not [name for name in asked if name.startswith("tile")]
