"""The tree: RFC 6962's definition, vectors that other implementations share, and the frontier's own rules."""

from __future__ import annotations

import os
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.ledger import EMPTY_ROOT, Frontier, leaf_hash, node_hash

# The eight leaves and the roots after each, as the Certificate Transparency implementations test them.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def mth(entries: list[bytes]) -> bytes:
    """MTH exactly as RFC 6962, section 2.1, defines it."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    return sha256(b"\x01" + mth(entries[:split]) + mth(entries[split:])).digest()


def test_roots_are_those_of_the_published_vectors() -> None:
    frontier = Frontier.EMPTY
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert frontier.root() == EMPTY_ROOT
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        frontier = frontier.appended([leaf_hash(leaf)])
        assert frontier.root().hex() == root


@pytest.mark.parametrize("size", [*range(18), 31, 33, 255, 256, 257, 511, 1000])
def test_the_root_is_the_recursive_definition_of_the_rfc(size: int) -> None:
    entries = [number.to_bytes(3, "big") for number in range(size)]
    assert Frontier.EMPTY.appended(map(leaf_hash, entries)).root() == mth(entries)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 40), max_size=8))
def test_appending_in_portions_is_appending_at_once(portions: list[int]) -> None:
    leaves = [leaf_hash(number.to_bytes(3, "big")) for number in range(sum(portions))]
    frontier = Frontier.EMPTY
    at = 0
    for portion in portions:
        frontier = frontier.appended(leaves[at : at + portion])
        at += portion
        frontier = Frontier.from_bytes(frontier.size, frontier.to_bytes())
    assert frontier == Frontier.EMPTY.appended(leaves)


def test_appending_leaves_the_earlier_frontier_as_it_was() -> None:
    before = Frontier.EMPTY.appended([leaf_hash(b"a")])
    root = before.root()
    before.appended([leaf_hash(b"b"), leaf_hash(b"c")])
    assert (before.size, before.root()) == (1, root)


def test_a_node_cannot_be_passed_off_as_an_entry() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(left + right) != node_hash(left, right)


@pytest.mark.parametrize("size", [0, 1, 3, 8])
def test_a_stored_frontier_with_the_wrong_number_of_hashes_is_refused(size: int) -> None:
    data = os.urandom(32 * (size.bit_count() + 1))
    with pytest.raises(ValueError, match="complete subtrees"):
        Frontier.from_bytes(size, data)


@pytest.mark.parametrize(("size", "data"), [(1, b"x" * 31), (1, b""), (-1, b"x" * 32), (3, b"x" * 65)])
def test_a_damaged_stored_frontier_is_refused(size: int, data: bytes) -> None:
    with pytest.raises(ValueError):
        Frontier.from_bytes(size, data)


def test_an_entry_where_a_leaf_hash_belongs_is_refused() -> None:
    with pytest.raises(ValueError, match="leaf hash"):
        Frontier.EMPTY.appended([b'{"v":1}'])
