"""Answers signed with a passkey: by its holder, for exactly that answer, on a page of the right origin."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from exports import ANN, BOB, DIGEST, REVIEW, START, apr, of
from interlock.verify.meaning import Meaning
from interlock.verify.passkeys import BadRoster, Roster, read_roster
from interlock.verify.report import Findings

Entry = dict[str, Any]
Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
RP = "interlock.example"
EC = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)
NAME = "psk_" + "1" * 32
HELD = of("action.proposed", decision="require_approval", approval=apr(), review_hash=REVIEW, step_up=True)
CLAIM = of("action.claimed", approval=apr(), review_hash=REVIEW)
ANSWER = {"action_hash": DIGEST, "constraints": None, "reason": None, "nonce": "bm9uY2U"}


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def public(key: Private) -> str:
    return b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def sign(key: Private, data: bytes) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, ec.ECDSA(SHA256()))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    return key.sign(data, padding.PKCS1v15(), SHA256())


def enrolled(key: Private = EC, **fields: Any) -> Entry:
    made = {"passkey": NAME, "person": BOB, "by": BOB, "credential": "Y3JlZA", "rp_id": RP}
    return of("passkey.added", **{**made, "public_key": public(key), **fields})


def approved(
    key: Private = EC,
    *,
    rp_id: str = RP,
    flags: int = 0x05,
    client: dict[str, Any] | None = None,
    change: Callable[[Entry], None] = lambda _: None,
    **fields: Any,
) -> Entry:
    """An approval, signed as an authenticator signs; `change` is made after signing."""
    entry = of("approval.decided", person=BOB, answer=dict(ANSWER), **fields)
    answer = entry["answer"]
    signed = {name: entry[name] for name in ("approval", "review_hash", "decision")}
    signed |= {name: answer[name] for name in ("action_hash", "constraints", "reason", "nonce")}
    challenge = b64(sha256(b"interlock/decision/v1\0" + rfc8785.dumps(signed)).digest())
    said = {"type": "webauthn.get", "challenge": challenge, "origin": f"https://desk.{RP}", **(client or {})}
    raw = json.dumps(said).encode()
    data = sha256(rp_id.encode()).digest() + bytes([flags]) + bytes(4)
    entry["assertion"] = {
        "passkey": NAME,
        "authenticator_data": b64(data),
        "client_data": b64(raw),
        "signature": b64(sign(key, data + sha256(raw).digest())),
    }
    change(entry)
    return entry


def follow(*entries: Entry, roster: Roster | None = None) -> tuple[list[str], Meaning]:
    findings = Findings()
    meaning = Meaning(findings, roster=roster, whole=True)
    for number, entry in enumerate((*START, *entries)):
        meaning.follow(number, {"at": number, "namespace": "default", **entry})
    return [problem.what for problem in findings.problems()], meaning


@pytest.mark.parametrize("key", [EC, ED, RSA])
@pytest.mark.parametrize("origin", [f"https://{RP}", f"https://a.b.{RP}:8443"])
def test_a_good_assertion_passes_and_is_counted(key: Private, origin: str) -> None:
    wrong, meaning = follow(enrolled(key), HELD, approved(key, client={"origin": origin}), CLAIM)
    assert wrong == []
    assert meaning.assertions == 1


def test_a_page_on_this_machine_needs_no_tls() -> None:
    here = approved(rp_id="localhost", client={"origin": "http://localhost:8420"})
    assert follow(enrolled(rp_id="localhost"), HELD, here)[0] == []


def test_an_approval_without_an_assertion_fails_where_one_was_asked_for() -> None:
    plain = of("approval.decided", person=BOB)
    assert "approved without one" in follow(enrolled(), HELD, plain)[0][0]
    assert follow(enrolled(), {**HELD, "step_up": None}, plain)[0] == []
    assert follow(enrolled(), HELD, {**plain, "decision": "reject"})[0] == []


def _field(name: str, value: Any) -> Callable[[Entry], None]:
    return lambda entry: entry.update({name: value})


def _answer(**fields: Any) -> Callable[[Entry], None]:
    return lambda entry: entry["answer"].update(fields)


def _assertion(**fields: Any) -> Callable[[Entry], None]:
    return lambda entry: entry["assertion"].update(fields)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (approved(OTHER), "signature does not verify"),
        (approved(ED), "signature does not verify"),
        (approved(change=_answer(nonce="b3RoZXI")), "another answer"),
        (approved(change=_answer(reason=DIGEST)), "another answer"),
        (approved(change=_answer(constraints={"max": 1})), "another answer"),
        (approved(client={"challenge": b64(bytes(32))}), "another answer"),
        (approved(change=_answer(action_hash=REVIEW)), "another action hash than was approved"),
        (approved(client={"type": "webauthn.create"}), "another type"),
        (approved(flags=0x04), "present and verified"),
        (approved(flags=0x01), "present and verified"),
        (approved(rp_id="evil.example"), "another relying party"),
        (approved(client={"origin": "https://evil.example"}), "another origin"),
        (approved(client={"origin": f"https://evil{RP}"}), "another origin"),
        (approved(client={"origin": f"https://{RP}.evil.example"}), "another origin"),
        (approved(client={"origin": f"http://{RP}"}), "another origin"),
        (approved(client={"origin": f"https://evil.example@{RP}"}), "another origin"),
        (approved(client={"origin": f"https://{RP}/path"}), "another origin"),
        (approved(client={"origin": 7}), "another origin"),
        (approved(client={"crossOrigin": True}), "another origin"),
        (approved(change=_assertion(signature="AAAA")), "does not verify"),
        (approved(change=_assertion(signature="A")), "base64url"),
        (approved(change=_assertion(signature=None)), "base64url"),
        (approved(change=_assertion(client_data=b64(b"[]"))), "another type"),
        (approved(change=_assertion(client_data=b64(b"x"))), "not JSON"),
        (approved(change=_assertion(client_data=b64(b"[" * 100_000))), "not JSON"),
        (approved(change=_assertion(authenticator_data=b64(b"short"))), "another relying party"),
        (approved(change=_assertion(passkey="psk_" + "2" * 32)), "never enrolled"),
        (approved(change=_assertion(passkey=["x"])), "of no passkey"),
        (approved(change=_field("person", ANN)), "another person's"),
        (approved(change=_field("answer", None)), "without saying of what"),
    ],
)
def test_a_false_assertion_fails(entry: Entry, why: str) -> None:
    wrong, _ = follow(enrolled(), HELD, entry)
    assert any(why in each for each in wrong), wrong


def test_a_false_assertion_fails_where_none_was_asked_for_too() -> None:
    assert follow(enrolled(), {**HELD, "step_up": None}, approved(OTHER))[0] != []


def test_a_passkey_that_was_revoked_or_is_not_enrolled_yet_counts_for_nothing() -> None:
    revoked = of("passkey.revoked", passkey=NAME, person=BOB)
    assert "had been revoked" in follow(enrolled(), HELD, revoked, approved())[0][0]
    assert "never enrolled" in follow(HELD, approved(), enrolled())[0][0]
    assert "enrolled before" in follow(enrolled(), revoked, enrolled())[0][0]
    assert "never enrolled" in follow(revoked)[0][0]
    assert "not enrolled" in follow(enrolled(person="per_" + "e" * 32))[0][0]


def test_an_edit_is_the_one_that_was_signed() -> None:
    signed = approved(decision="edit", change=lambda _: None)
    edit = of("action.edited", person=BOB, action_hash=DIGEST)
    assert follow(enrolled(), HELD, signed, edit)[0] == []
    assert "signed" in follow(enrolled(), HELD, signed, {**edit, "action_hash": REVIEW})[0][0]


def test_a_key_of_an_unknown_algorithm_cannot_be_checked() -> None:
    findings = Findings()
    meaning = Meaning(findings, roster=None, whole=True)
    curve = ec.generate_private_key(ec.SECP384R1())
    for number, entry in enumerate((*START, enrolled(curve))):  # type: ignore[arg-type]
        meaning.follow(number, {"at": number, "namespace": "default", **entry})
    assert findings.cannot_check
    assert follow(enrolled(public_key="AAAA"))[0] != []


# --- a roster of one's own --------------------------------------------------------------------------------


def line(key: Private = EC, person: str = BOB) -> bytes:
    return f"passkey {person} {RP} Y3JlZA {public(key)}\n".encode()


def test_with_a_roster_only_its_passkeys_count() -> None:
    mine = read_roster(b"# mine\n\n" + line() + line(OTHER, ANN))
    assert follow(enrolled(), HELD, approved(), roster=mine)[0] == []
    for raw in (b"", line(OTHER), line(EC, ANN)):
        wrong, _ = follow(enrolled(), HELD, approved(), roster=read_roster(raw))
        assert wrong == ["approval.decided: the passkey is not in the roster you gave"]


@pytest.mark.parametrize(
    "raw",
    [
        b"passkeys a b c d",
        b"passkey a b c",
        line() + b"passkey per_1 rp cred nonsense",
        b"\xff",
        b"#" * ((1 << 20) + 1),
    ],
)
def test_a_file_that_is_no_roster_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRoster):
        read_roster(raw)
