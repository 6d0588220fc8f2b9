"""Proofs: those of RFC 6962, as its recursion makes them, and nothing else passes."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.ledger import (
    EMPTY_ROOT,
    Frontier,
    consistency_path,
    consistency_text,
    inclusion_path,
    inclusion_text,
    leaf_hash,
    node_hash,
    subtrees,
)
from interlock.verify import proof
from interlock.verify.proof import BadProof, check_consistency, check_inclusion

ENTRIES = [b"entry %d" % number for number in range(140)]
LEAVES = [leaf_hash(each) for each in ENTRIES]
SIZES = st.integers(1, len(ENTRIES))


def root(size: int) -> bytes:
    return Frontier.EMPTY.appended(LEAVES[:size]).root()


def rfc_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if index < k:
        return [*rfc_path(index, leaves[:k]), Frontier.EMPTY.appended(leaves[k:]).root()]
    return [*rfc_path(index - k, leaves[k:]), Frontier.EMPTY.appended(leaves[:k]).root()]


def rfc_subproof(m: int, leaves: list[bytes], known: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, section 2.1.2, word for word."""
    if m == len(leaves):
        return [] if known else [Frontier.EMPTY.appended(leaves).root()]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*rfc_subproof(m, leaves[:k], known), Frontier.EMPTY.appended(leaves[k:]).root()]
    return [*rfc_subproof(m - k, leaves[k:], False), Frontier.EMPTY.appended(leaves[:k]).root()]


def inclusion(index: int, size: int) -> list[bytes]:
    return subtrees(inclusion_path(index, size), LEAVES[:size])


def consistency(old: int, size: int) -> list[bytes]:
    known = Frontier.EMPTY.appended(LEAVES[:old])
    return subtrees(consistency_path(old, size), LEAVES[old:size], known)


def test_the_proofs_of_the_rfc_s_example_with_seven_leaves() -> None:
    a, b, c, d, e, f, j = LEAVES[:7]
    g, h, i = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k, l = node_hash(g, h), node_hash(i, j)  # noqa: E741 (the RFC's letters)
    assert node_hash(k, l) == root(7)
    assert inclusion(0, 7) == [b, h, l]
    assert inclusion(3, 7) == [c, g, l]
    assert inclusion(4, 7) == [f, j, k]
    assert inclusion(6, 7) == [i, k]
    assert consistency(3, 7) == [c, d, g, l]
    assert consistency(4, 7) == [l]
    assert consistency(6, 7) == [i, j, k]


def test_every_proof_of_small_trees_is_that_of_the_recursion_and_verifies() -> None:
    for size in range(1, 40):
        for index in range(size):
            made = inclusion(index, size)
            assert made == rfc_path(index, LEAVES[:size])
            check_inclusion(ENTRIES[index], index, size, made, root(size))
        for old in range(1, size + 1):
            made = consistency(old, size)
            assert made == rfc_subproof(old, LEAVES[:size], True)
            check_consistency(old, root(old), size, root(size), made)
        check_consistency(0, EMPTY_ROOT, size, root(size), consistency(0, size))


@given(data=st.data(), size=SIZES)
@settings(max_examples=150)
def test_a_proof_of_inclusion_proves_this_entry_here_in_this_tree_only(
    data: st.DataObject, size: int
) -> None:
    index = data.draw(st.integers(0, size - 1))
    made = inclusion(index, size)
    check_inclusion(ENTRIES[index], index, size, made, root(size))
    with pytest.raises(BadProof):
        check_inclusion(ENTRIES[index] + b"!", index, size, made, root(size))
    with pytest.raises(BadProof):
        check_inclusion(ENTRIES[index], index, size, [*made, bytes(32)], root(size))
    if made:
        with pytest.raises(BadProof):
            check_inclusion(ENTRIES[index], index, size, made[:-1], root(size))
        at = data.draw(st.integers(0, len(made) - 1))
        spoilt = [*made[:at], bytes(32), *made[at + 1 :]]
        with pytest.raises(BadProof):
            check_inclusion(ENTRIES[index], index, size, spoilt, root(size))
    elsewhere = data.draw(st.integers(0, len(ENTRIES)))
    if elsewhere != index:
        with pytest.raises(BadProof):
            check_inclusion(ENTRIES[index], elsewhere, size, made, root(size))


@given(data=st.data(), size=st.integers(2, len(ENTRIES)))
@settings(max_examples=150)
def test_a_proof_of_consistency_proves_this_growth_only(data: st.DataObject, size: int) -> None:
    old = data.draw(st.integers(1, size - 1))
    made = consistency(old, size)
    check_consistency(old, root(old), size, root(size), made)
    forged = Frontier.EMPTY.appended([leaf_hash(b"forged"), *LEAVES[1:old]]).root()
    for wrong in (
        (old, forged, size, root(size), made),
        (old, root(old), size, forged, made),
        (old, root(old), size, root(size), [*made, bytes(32)]),
        (old, root(old), size, root(size), made[:-1]),
        (old, root(old), size, root(size), made[1:]),
        (old, root(old), size, root(size), [made[0][::-1], *made[1:]]),
        (size, root(size), old, root(old), made),
        (old, root(old), old, root(old), made),
        (0, EMPTY_ROOT, size, root(size), made),
    ):
        with pytest.raises(BadProof):
            check_consistency(*wrong)


def test_two_roots_of_one_size_are_never_consistent() -> None:
    check_consistency(5, root(5), 5, root(5), [])
    with pytest.raises(BadProof):
        check_consistency(5, root(5), 5, root(6), [])
    with pytest.raises(BadProof):
        check_consistency(0, root(1), 5, root(5), [])


def test_a_size_that_the_root_does_not_have_is_not_proved_by_the_root_s_own_proof() -> None:
    for size in (9, 12, 16, 33):
        with pytest.raises(BadProof, match="fewer"):
            check_consistency(4, root(4), size, root(5), consistency(4, 5))
    for size in (9, 16, 17, 33):
        with pytest.raises(BadProof, match="fewer"):
            check_inclusion(ENTRIES[0], 0, size, inclusion(0, 5), root(5))


def test_a_proof_needs_the_frontier_and_the_leaves_since_and_no_more() -> None:
    with pytest.raises(ValueError, match="end at"):
        subtrees(consistency_path(3, 9), LEAVES[3:8], Frontier.EMPTY.appended(LEAVES[:3]))
    with pytest.raises(ValueError, match="complete subtree"):
        subtrees(inclusion_path(0, 9), LEAVES[8:9], Frontier.EMPTY.appended(LEAVES[:8]))
    with pytest.raises(ValueError, match="does not follow"):
        subtrees(inclusion_path(0, 12), LEAVES[10:12], Frontier.EMPTY.appended(LEAVES[:10]))


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_what_is_not_in_a_tree_has_no_path(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no entry"):
        inclusion_path(index, size)


@pytest.mark.parametrize(("old", "size"), [(-1, 3), (4, 3)])
def test_no_tree_continues_a_larger_one(old: int, size: int) -> None:
    with pytest.raises(ValueError, match="never had"):
        consistency_path(old, size)


# --- files -------------------------------------------------------------------------------------------------

NOTE = "log\n1\nroot\n\n— log AAAA\n"


def test_a_tlog_proof_file_is_byte_for_byte_that_of_the_specification() -> None:
    one, two = bytes(32), bytes(range(32))
    lines = f"{b64encode(one).decode()}\n{b64encode(two).decode()}\n"
    text = inclusion_text(5, [one, two], NOTE)
    assert text == f"c2sp.org/tlog-proof@v1\nindex 5\n{lines}\n{NOTE}"
    read = proof.read_inclusion(text.encode())
    assert (read.index, read.hashes, read.extra, read.note) == (5, (one, two), None, NOTE.encode())
    carried = inclusion_text(0, [], NOTE, extra=b"\xff{}")
    assert carried == f"c2sp.org/tlog-proof@v1\nextra /3t9\nindex 0\n\n{NOTE}"
    assert proof.read_inclusion(carried.encode()).extra == b"\xff{}"


def test_a_witness_s_request_is_byte_for_byte_that_of_the_specification() -> None:
    text = consistency_text(20_852_014, [bytes(32)], NOTE)
    assert text == f"old 20852014\n{b64encode(bytes(32)).decode()}\n\n{NOTE}"
    assert proof.read_consistency(text.encode()).old == 20_852_014
    assert consistency_text(0, [], NOTE) == f"old 0\n\n{NOTE}"


HASH = b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v1",
        "c2sp.org/tlog-proof@v1\n",
        f"c2sp.org/tlog-proof@v1\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v2\nindex 0\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nindex 00\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nindex -1\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nindex 9223372036854775808\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nindex  1\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nextra ?\nindex 0\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nextra AA==\nextra AA==\nindex 0\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH[:-2]}B=\n\n{NOTE}",
        f"c2sp.org/tlog-proof@v1\r\nindex 0\n\n{NOTE}",
        "c2sp.org/tlog-proof@v1\nindex 0\n" + f"{HASH}\n" * 64 + f"\n{NOTE}",
    ],
)
def test_a_file_that_is_no_proof_is_refused(text: str) -> None:
    with pytest.raises(BadProof):
        proof.read_inclusion(text.encode())


@given(raw=st.binary(max_size=300))
@settings(max_examples=100)
def test_garbage_is_refused_and_nothing_else_happens(raw: bytes) -> None:
    for read in (proof.read_inclusion, proof.read_consistency):
        with pytest.raises(BadProof):
            read(raw)
