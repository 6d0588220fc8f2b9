"""Cosignatures: what a witness signs, what its key looks like, and that both sides read it alike."""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.ledger import Cosigner, Signer, Witness, checkpoint
from interlock.ledger.cosignature import UnknownAlgorithm
from interlock.verify import note as verify_note
from interlock.verify.cosignature import WitnessKey
from interlock.verify.note import BadNote, Note

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
COSIGNER = Cosigner("witness.example/w1", KEY)
OTHER = Cosigner("witness.example/w1", Ed25519PrivateKey.from_private_bytes(bytes(32)))
LOG = Signer("example.com/log", Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
TEXT = checkpoint("example.com/log", 7, bytes(32))
AT = 1_679_315_147

# In the tests of transparency-dev/formats: a witness that runs on the internet.
REMORA = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"


def noted(*lines: str) -> Note:
    return Note.parse((LOG.sign(TEXT) + "".join(lines)).encode())


def test_a_cosignature_is_made_of_exactly_the_bytes_of_the_specification() -> None:
    public = b"\x04" + KEY.public_key().public_bytes_raw()
    key_id = sha256(b"witness.example/w1\n" + public).digest()[:4]
    message = b"cosignature/v1\ntime 1679315147\n" + TEXT.encode()
    blob = key_id + AT.to_bytes(8, "big") + KEY.sign(message)
    assert COSIGNER.cosign(TEXT, AT) == f"— witness.example/w1 {b64encode(blob).decode()}\n"
    assert COSIGNER.vkey == f"witness.example/w1+{key_id.hex()}+{b64encode(public).decode()}"
    # The example of tlog-cosignature has the same time in the same place.
    theirs = b64decode(
        "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA=="
    )
    assert theirs[4:12] == blob[4:12]
    assert len(theirs) == len(blob)


def test_both_sides_read_a_witness_of_the_real_world() -> None:
    ours, theirs = Witness.parse(REMORA), WitnessKey.parse(REMORA)
    assert (ours.name, ours.id.hex()) == (theirs.name, theirs.id.hex()) == ("remora.n621.de", "da77ade7")
    assert theirs.public.public_bytes_raw() == ours.public


@given(at=st.integers(0, 2**63 - 1))
@settings(max_examples=50)
def test_what_a_witness_signs_both_sides_accept_at_its_time(at: int) -> None:
    line = COSIGNER.cosign(TEXT, at)
    assert Witness.parse(COSIGNER.vkey).signed(TEXT, line) == (line, at)
    assert WitnessKey.parse(COSIGNER.vkey).cosigned(noted(line)) == at


@given(place=st.integers(0, 75), bit=st.integers(0, 7))
@settings(max_examples=150)
def test_no_bit_of_a_cosignature_can_be_changed(place: int, bit: int) -> None:
    name, encoded = COSIGNER.cosign(TEXT, AT)[2:-1].split(" ")
    blob = bytearray(b64decode(encoded))
    blob[place] ^= 1 << bit
    line = f"— {name} {b64encode(blob).decode()}\n"
    assert Witness.parse(COSIGNER.vkey).signed(TEXT, line) is None
    key = WitnessKey.parse(COSIGNER.vkey)
    if place < 4:  # the key id: somebody else's line
        assert key.cosigned(noted(line)) is None
    else:
        with pytest.raises(BadNote):
            key.cosigned(noted(line))


def test_a_cosignature_of_another_checkpoint_or_witness_is_none_of_this() -> None:
    other_text = checkpoint("example.com/log", 8, bytes(32))
    witness, key = Witness.parse(COSIGNER.vkey), WitnessKey.parse(COSIGNER.vkey)
    assert witness.signed(TEXT, COSIGNER.cosign(other_text, AT)) is None
    with pytest.raises(BadNote):
        key.cosigned(noted(COSIGNER.cosign(other_text, AT)))
    assert witness.signed(TEXT, OTHER.cosign(TEXT, AT)) is None
    assert key.cosigned(noted(OTHER.cosign(TEXT, AT))) is None
    assert key.cosigned(noted()) is None


def test_of_several_cosignatures_the_newest_counts_and_a_false_one_spoils_the_note() -> None:
    lines = [COSIGNER.cosign(TEXT, at) for at in (5, 9, 7)]
    assert Witness.parse(COSIGNER.vkey).signed(TEXT, "".join(lines)) == (lines[1], 9)
    key = WitnessKey.parse(COSIGNER.vkey)
    assert key.cosigned(noted(*lines)) == 9
    with pytest.raises(BadNote):
        key.cosigned(noted(*lines, COSIGNER.cosign(checkpoint("example.com/log", 8, bytes(32)), 3)))


def test_an_answer_of_garbage_holds_no_cosignature() -> None:
    line = COSIGNER.cosign(TEXT, AT)
    witness = Witness.parse(COSIGNER.vkey)
    for garbage in ("", "\n", "— witness.example/w1 \n", "— witness.example/w1 !\n", line[:-3], "x" * 10_000):
        assert witness.signed(TEXT, garbage) is None
    assert witness.signed(TEXT, f"— somebody.else/1 AAAA\n{line}\nrest") == (line, AT)


def test_the_key_of_a_log_is_never_that_of_a_witness_nor_the_other_way() -> None:
    with pytest.raises(ValueError, match="key of a log"):
        Witness.parse(LOG.vkey)
    with pytest.raises(BadNote, match="key of a log"):
        WitnessKey.parse(LOG.vkey)
    with pytest.raises(verify_note.UnknownAlgorithm):
        verify_note.Key.parse(COSIGNER.vkey)


def test_a_key_of_another_algorithm_is_told_from_a_malformed_one() -> None:
    data = b"\x06" + bytes(1312)
    label = sha256(b"w\n" + data).digest()[:4].hex()
    vkey = f"w+{label}+{b64encode(data).decode()}"
    with pytest.raises(UnknownAlgorithm):
        Witness.parse(vkey)
    with pytest.raises(verify_note.UnknownAlgorithm):
        WitnessKey.parse(vkey)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "w",
        "w+00000000",
        COSIGNER.vkey[:-4],
        COSIGNER.vkey.replace("w1", "w2"),
        COSIGNER.vkey.upper(),
        " " + COSIGNER.vkey,
        COSIGNER.vkey + "=",
    ],
)
def test_a_malformed_key_is_refused_by_both_sides(vkey: str) -> None:
    with pytest.raises(ValueError):
        Witness.parse(vkey)
    with pytest.raises(BadNote):
        WitnessKey.parse(vkey)


@pytest.mark.parametrize("at", [-1, 2**63])
def test_a_time_out_of_range_is_not_signed(at: int) -> None:
    with pytest.raises(ValueError, match="time"):
        COSIGNER.cosign(TEXT, at)
