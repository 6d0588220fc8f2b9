"""Claims about the vault: what it seals opens in one place only, and marks are not interchangeable."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.journal import Vault
from interlock.model.errors import Tampered

VAULT = Vault(bytes(32), b"m" * 32)
FIELDS = st.lists(
    st.none() | st.integers(-(2**53), 2**53) | st.text(max_size=8) | st.binary(max_size=8), max_size=4
)


@given(st.binary(max_size=64))
@settings(max_examples=30)
def test_what_is_sealed_opens_for_its_row_and_no_other(content: bytes) -> None:
    sealed = VAULT.seal("payload:a:1", content)
    assert VAULT.open("payload:a:1", sealed) == content
    for row in ("payload:a:2", "payload:b:1", ""):
        with pytest.raises(Tampered):
            VAULT.open(row, sealed)


def test_no_bit_of_a_sealed_value_can_be_changed() -> None:
    sealed = VAULT.seal("row", b"content")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(Tampered):
            VAULT.open("row", bytes(changed))
    for length in range(len(sealed)):
        with pytest.raises(Tampered):
            VAULT.open("row", sealed[:length])


@given(FIELDS, FIELDS)
@settings(max_examples=60)
def test_two_lists_of_fields_share_a_mark_only_where_they_are_equal(
    one: list[object], two: list[object]
) -> None:
    same = VAULT.mac("kind", *one) == VAULT.mac("kind", *two)  # type: ignore[arg-type]
    assert same == (one == two and [type(x) for x in one] == [type(x) for x in two])


def test_a_subjects_id_depends_on_key_namespace_and_name_and_shows_none_of_them() -> None:
    found = VAULT.subject("default", "ana@example.com")
    assert found == VAULT.subject("default", "ana@example.com")
    assert len(found) == 64
    others = {
        VAULT.subject("other", "ana@example.com"),
        VAULT.subject("default", "Ana@example.com"),
        Vault(bytes(32), b"n" * 32).subject("default", "ana@example.com"),
    }
    assert found not in others
    assert len(others) == 3


def test_the_wrapping_key_is_neither_of_the_vaults_keys_and_depends_on_the_sealing_key_alone() -> None:
    derived = VAULT.wrapping_key()
    assert derived not in (VAULT.sealing_key, VAULT.mac_key)
    assert derived == Vault(bytes(32), b"x" * 32).wrapping_key()
    assert derived != Vault(b"s" * 32, b"m" * 32).wrapping_key()


def test_a_vault_shows_no_key() -> None:
    assert "00" not in repr(Vault(bytes(32), bytes(32)))
    with pytest.raises(ValueError, match="32"):
        Vault(bytes(31), bytes(32))
