"""Notes: the same bytes that the Go checksum database's note package makes and reads."""

from __future__ import annotations

from base64 import b64decode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from interlock.ledger import Signer, checkpoint

# The worked example in the documentation of golang.org/x/mod/sumdb/note.
SEED = b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNATURE = (
    "— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def signer(name: str = "PeterNeumann") -> Signer:
    return Signer(name, Ed25519PrivateKey.from_private_bytes(SEED))


def test_a_note_is_byte_for_byte_that_of_the_reference_implementation() -> None:
    assert signer().vkey == VKEY
    assert signer().sign(TEXT) == f"{TEXT}\n{SIGNATURE}"


def test_a_checkpoint_is_origin_size_and_root() -> None:
    root = b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    assert checkpoint("example.com/behind-the-sofa", 20852163, root) == (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    )


@pytest.mark.parametrize("name", ["", "two words", "a+b", "line\nbreak", "no\u00a0break", "bell\x07"])
def test_a_name_that_would_break_the_format_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        signer(name)
    with pytest.raises(ValueError, match="printable"):
        checkpoint(name, 0, bytes(32))


@pytest.mark.parametrize("text", ["no newline", "", "tab\there\n", "carriage\r\n"])
def test_a_text_that_would_break_the_format_is_not_signed(text: str) -> None:
    with pytest.raises(ValueError, match="text of a note"):
        signer().sign(text)


@pytest.mark.parametrize(("size", "root"), [(-1, bytes(32)), (1, bytes(31)), (1, b"")])
def test_a_checkpoint_of_nothing_real_is_refused(size: int, root: bytes) -> None:
    with pytest.raises(ValueError):
        checkpoint("example.com/log", size, root)
