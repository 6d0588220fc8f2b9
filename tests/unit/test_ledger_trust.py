"""Trust policies: the log's reader and the auditor's, written apart, agree on every file and every quorum."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.ledger import Cosigner, Signer, TrustPolicy
from interlock.verify.trust import BadPolicy, Trust


def key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


LOG = Signer("example.com/log", key(200)).vkey
WITNESS = [Cosigner(f"w.example/{number}", key(number)).vkey for number in range(8)]


def unknown(name: str) -> str:
    """A key for ML-DSA-44 cosignatures, as far as its form goes."""
    data = b"\x06" + sha256(name.encode()).digest() * 41
    label = sha256(name.encode() + b"\n" + data).digest()[:4].hex()
    return f"{name}+{label}+{b64encode(data).decode()}"


EXAMPLE = f"""\
# The example of the specification, with keys.
log {LOG}

witness X1 {WITNESS[1]}
\twitness X2   {WITNESS[2]} https://x2.example/
witness X3 {WITNESS[3]}\t
group X-witnesses 2 X1 X2 X3
witness Y1 {WITNESS[4]}
witness Y2 {WITNESS[5]}
witness Y3 {WITNESS[6]}
  # indented comment
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def both(text: str | bytes) -> tuple[TrustPolicy, Trust]:
    raw = text.encode() if isinstance(text, str) else text
    return TrustPolicy.parse(raw), Trust.parse(raw)


def reached(text: str, *names: str) -> bool:
    ours, theirs = both(text)
    answer = ours.reached(set(names))
    assert theirs.holds({name.encode() for name in names}) is answer
    return answer


def refused(text: str | bytes) -> None:
    raw = text.encode() if isinstance(text, str) else text
    with pytest.raises(ValueError):
        TrustPolicy.parse(raw)
    with pytest.raises(BadPolicy):
        Trust.parse(raw)


def test_the_example_of_the_specification_means_what_it_says() -> None:
    assert reached(EXAMPLE, "X1", "X3", "Y2")
    assert reached(EXAMPLE, "X1", "X2", "X3", "Y1", "Y2", "Y3")
    assert not reached(EXAMPLE, "X1", "Y1", "Y2", "Y3")
    assert not reached(EXAMPLE, "X1", "X2", "X3")
    assert not reached(EXAMPLE)
    ours, theirs = both(EXAMPLE)
    assert ours.logs == (LOG,)
    assert [log.name for log in theirs.logs] == ["example.com/log"]
    assert [each.name for each in ours.witnesses] == ["X1", "X2", "X3", "Y1", "Y2", "Y3"]
    assert [each.url for each in ours.witnesses][:3] == [None, "https://x2.example/", None]


def test_naming_a_group_is_not_cosigning_for_it() -> None:
    assert not reached(EXAMPLE, "X-witnesses", "Y-witnesses", "X-and-Y", "nobody")


def test_a_quorum_of_none_needs_nobody_and_one_witness_is_a_quorum() -> None:
    assert reached("quorum none\n")
    assert reached(f"log {LOG}\nquorum none")
    one = f"witness a {WITNESS[0]}\nwitness b {WITNESS[1]}\nquorum a\n"
    assert reached(one, "a")
    assert not reached(one, "b")


def test_a_witness_of_an_unknown_algorithm_is_known_and_never_counts() -> None:
    text = f"witness a {WITNESS[0]}\nwitness pq {unknown('pq.example/w')}\ngroup g all a pq\nquorum g\n"
    assert not reached(text, "a", "pq")
    ours, theirs = both(text)
    assert [each.key is None for each in ours.witnesses] == [False, True]
    assert theirs.could_hold({b"a"})
    assert not theirs.could_hold(set())


A, B = f"witness a {WITNESS[0]}\n", f"witness b {WITNESS[1]}\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        A,
        "quorum a\n",
        f"quorum a\n{A}",
        f"{A}quorum a\nquorum a\n",
        "quorum none\nquorum none\n",
        "quorum none extra\n",
        "quorum\n",
        "Quorum none\n",
        f"{A}{A}quorum a\n",
        f"{A}witness b {WITNESS[0]}\nquorum a\n",  # one key under two names
        f"{A}witness a {WITNESS[1]}\nquorum a\n",
        f"log {LOG}\nlog {LOG}\nquorum none\n",
        f"log {LOG} url more\nquorum none\n",
        f"log {LOG[:-2]}\nquorum none\n",
        f"witness a {LOG}\nquorum a\n",
        f"witness none {WITNESS[0]}\nquorum none\n",
        f"{A}group none any a\nquorum none\n",
        f"{A}group a any a\nquorum a\n",
        f"{A}group g any\nquorum a\n",
        f"{A}group g 0 a\nquorum g\n",
        f"{A}group g 2 a\nquorum g\n",
        f"{A}group g 01 a\nquorum g\n",
        f"{A}group g -1 a\nquorum g\n",
        f"{A}group g +1 a\nquorum g\n",
        f"{A}group g ALL a\nquorum g\n",
        f"{A}group g {'9' * 5000} a\nquorum g\n",
        f"{A}group g any a a\nquorum g\n",
        f"{A}{B}group g any a\ngroup h any a b\nquorum h\n",  # a would count twice
        f"{A}group g any h\ngroup h any a\nquorum g\n",
        f"{A}group g any none\nquorum g\n",
        f"{A}group g any a\u2028b\nquorum g\n",
        f"{A}group g any a\u00a0\nquorum g\n",
        f"{A}quorum a\r\n",
        f"{A}quorum a\x00\n",
        f"{A}quorum a\x0b\n",
        f"{A}quorum a\x7f\n",
        "allow everything\nquorum none\n",
    ],
)
def test_a_file_that_is_not_understood_is_refused_by_both(text: str) -> None:
    refused(text)


def test_names_are_octets_and_no_two_are_the_same_because_they_look_alike() -> None:
    kelvin = f"witness K {WITNESS[0]}\nwitness \u212a {WITNESS[1]}\nquorum \u212a\n"
    assert reached(kelvin, "\u212a")
    assert not reached(kelvin, "K")
    raw = (
        b"witness \xff " + WITNESS[0].encode() + b"\nwitness \xfe " + WITNESS[1].encode() + b"\nquorum \xff\n"
    )
    ours, theirs = both(raw)
    assert ours.reached({ours.witnesses[0].name})
    assert not ours.reached({ours.witnesses[1].name})
    assert theirs.holds({b"\xff"})
    assert not theirs.holds({b"\xfe"})


def test_a_policy_may_be_as_large_as_one_megabyte_and_deep() -> None:
    lines = [A, "group g0 any a\n", *(f"group g{n} any g{n - 1}\n" for n in range(1, 5000)), "quorum g4999\n"]
    assert reached("".join(lines), "a")
    assert not reached("".join(lines))
    refused("quorum none\n" + "#" * (1 << 20))


@st.composite
def policies(draw: st.DrawFn) -> str:
    free = [f"n{number}" for number in range(draw(st.integers(1, 6)))]
    lines = [f"witness {name} {WITNESS[number]}" for number, name in enumerate(free)]
    for number in range(draw(st.integers(0, 4))):
        if not free:
            break
        members = draw(st.lists(st.sampled_from(free), min_size=1, unique=True))
        needed = draw(st.sampled_from(["all", "any", str(draw(st.integers(1, len(members))))]))
        lines.append(f"group g{number} {needed} {' '.join(members)}")
        free = [name for name in free if name not in members] + [f"g{number}"]
    return "\n".join([*lines, f"quorum {draw(st.sampled_from(free))}", ""])


@given(text=policies(), names=st.sets(st.sampled_from([f"n{number}" for number in range(6)])))
@settings(max_examples=150)
def test_both_readers_agree_and_another_cosignature_never_unmakes_a_quorum(
    text: str, names: set[str]
) -> None:
    if reached(text, *names):
        for more in range(6):
            assert reached(text, *names, f"n{more}")
    assert reached(text, *(f"n{number}" for number in range(6)))
    assert not reached(text)


@given(raw=st.binary(max_size=200))
@settings(max_examples=100)
def test_garbage_is_no_policy(raw: bytes) -> None:
    refused(raw)
