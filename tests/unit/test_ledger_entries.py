"""Entries: canonical, bounded, with fields nobody can override."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.ledger import KERNEL, MAX_ENTRY, VERSION, Kind, Signer, checkpoint, entry, leaf_hash
from interlock.model.errors import InvalidInput, TooLarge

DOCUMENT = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text("utf-8")


def test_an_entry_is_its_fixed_fields_and_the_kinds_own_in_canonical_order() -> None:
    raw = entry(Kind.ACTION_CLAIMED, at=5, namespace="default", revision=1, action="act_1", epoch=2)
    assert raw == (
        b'{"action":"act_1","at":5,"epoch":2,"kernel":1,"kind":"action.claimed","namespace":"default",'
        b'"revision":1,"v":1}'
    )
    assert (VERSION, KERNEL) == (1, 1)


@settings(max_examples=80)
@given(
    st.dictionaries(
        st.text(max_size=8).filter(lambda name: name not in {"v", "kernel", "kind", "at", "namespace"}),
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=12),
        max_size=6,
    )
)
def test_any_entry_is_byte_for_byte_rfc_8785(fields: dict[str, None | bool | int | str]) -> None:
    raw = entry(Kind.KEY_ADDED, at=0, namespace="n", **fields)
    assert rfc8785.dumps(json.loads(raw)) == raw


@pytest.mark.parametrize("name", ["v", "kernel"])
def test_a_field_cannot_claim_another_version(name: str) -> None:
    with pytest.raises(InvalidInput):
        entry(Kind.KEY_ADDED, at=0, namespace="default", **{name: 2})


@pytest.mark.parametrize("at", [-1, 2**53, True, 1.0])
def test_a_time_is_an_integer_of_microseconds(at: int) -> None:
    with pytest.raises(InvalidInput, match="microseconds"):
        entry(Kind.KEY_ADDED, at=at, namespace="default")


def test_an_entry_names_its_namespace() -> None:
    with pytest.raises(InvalidInput, match="namespace"):
        entry(Kind.KEY_ADDED, at=0, namespace="")


def test_an_entry_fits_a_bundle_to_the_last_byte_and_not_beyond() -> None:
    empty = len(entry(Kind.KEY_ADDED, at=0, namespace="default", filler=""))
    fits = entry(Kind.KEY_ADDED, at=0, namespace="default", filler="x" * (MAX_ENTRY - empty))
    assert len(fits) == MAX_ENTRY == 65_535
    with pytest.raises(TooLarge, match="seal the content"):
        entry(Kind.KEY_ADDED, at=0, namespace="default", filler="x" * (MAX_ENTRY - empty + 1))


def test_every_kind_is_documented() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| `")]
    named = {word for row in rows for word in row.split("|")[1].replace("`", "").replace(",", " ").split()}
    assert {kind.value for kind in Kind} <= named


def test_the_documented_example_is_what_is_written() -> None:
    raw = entry(
        Kind.POLICY_ACTIVATED,
        at=1795132800000000,
        namespace="default",
        snapshot="v1:00",
        previous=None,
        by="local",
    )
    signer = Signer("interlock.example/ledger", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    note = signer.sign(checkpoint(signer.name, 1, leaf_hash(raw)))
    lines = {line.strip() for line in DOCUMENT.splitlines()}
    assert f"({len(raw)} bytes)" in DOCUMENT
    assert f"`{len(raw).to_bytes(2, 'big').hex(' ')}`" in DOCUMENT
    assert signer.vkey in DOCUMENT
    assert {raw.decode(), leaf_hash(raw).hex(), *note.splitlines()} <= lines
