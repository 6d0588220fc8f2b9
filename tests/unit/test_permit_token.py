"""The token: one form, one algorithm, one spelling, two minutes; and nothing else is ever a permit."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.permit import (
    BadSignature,
    LivesTooLong,
    MalformedPermit,
    NotYetValid,
    PermitError,
    PermitExpired,
    PermitKey,
    UnknownKey,
    WrongIssuer,
    jwks,
    mint,
    read_jwks,
    thumbprint,
    verify,
)
from interlock.permit.claims import decode, encode
from interlock.permit.token import TYPE
from permitted import CLAIMS, ISSUER, KEY, NOW

KEYS = {KEY.kid: KEY.public}
HEADER = {"alg": "EdDSA", "kid": KEY.kid, "typ": TYPE}


def b64(content: bytes | dict[str, Any]) -> str:
    raw = json.dumps(content).encode() if isinstance(content, dict) else content
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: Any = HEADER, payload: Any = None, key: Ed25519PrivateKey = KEY.private) -> str:
    """Whatever is asked for, with a true signature over it."""
    text = f"{b64(header)}.{b64(CLAIMS.to_json() if payload is None else payload)}"
    return f"{text}.{b64(key.sign(text.encode()))}"


def refused(token: Any, error: type[PermitError], **rest: Any) -> None:
    with pytest.raises(error) as found:
        verify(token, rest.pop("keys", KEYS), issuer=ISSUER, now=rest.pop("now", NOW), **rest)
    assert type(found.value) is error
    if isinstance(token, str) and len(token) > 40:
        assert all(part not in str(found.value) for part in token.split(".") if part)


def test_what_was_minted_is_what_is_read() -> None:
    assert verify(mint(CLAIMS, KEY), KEYS, issuer=ISSUER, now=NOW) == CLAIMS
    assert verify(signed(), KEYS, issuer=ISSUER, now=NOW) == CLAIMS


def test_other_readers_of_jwt_read_it() -> None:
    payload = jwt.decode(
        mint(CLAIMS, KEY),
        KEY.public,
        algorithms=["EdDSA"],
        audience="payments-host",
        issuer=ISSUER,
        options={"verify_exp": False, "verify_iat": False},
    )
    assert payload == CLAIMS.to_json()
    assert jwt.get_unverified_header(mint(CLAIMS, KEY)) == HEADER


# --- algorithms and keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "HS256", "ES256", "Ed25519", "eddsa", "", None, 1])
def test_no_other_algorithm_is_accepted(alg: Any) -> None:
    refused(signed({**HEADER, "alg": alg}), MalformedPermit)


def test_a_token_without_a_signature_is_refused() -> None:
    text = f"{b64({**HEADER, 'alg': 'none'})}.{b64(CLAIMS.to_json())}."
    refused(text, MalformedPermit)
    refused(f"{b64(HEADER)}.{b64(CLAIMS.to_json())}.", BadSignature)


@pytest.mark.parametrize(
    "secret",
    [
        KEY.public.public_bytes_raw(),
        KEY.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        KEY.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ],
    ids=["raw", "PEM", "DER"],
)
@pytest.mark.parametrize("alg", ["HS256", "EdDSA"])
def test_the_public_key_is_no_shared_secret(secret: bytes, alg: str) -> None:
    text = f"{b64({**HEADER, 'alg': alg})}.{b64(CLAIMS.to_json())}"
    token = f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256'))}"
    refused(token, MalformedPermit if alg == "HS256" else BadSignature)


def test_a_key_that_is_not_known_signs_nothing() -> None:
    other = PermitKey.generate()
    refused(mint(CLAIMS, other), UnknownKey)
    refused(signed({**HEADER, "kid": "x"}), UnknownKey)
    refused(signed(key=other.private), BadSignature)
    refused(mint(CLAIMS, KEY), BadSignature, keys={KEY.kid: other.public})
    refused(mint(CLAIMS, KEY), UnknownKey, keys={})


@pytest.mark.parametrize(
    "extra",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["x"]},
        {"jwk": jwks([KEY.public])["keys"][0]},
        {"b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"kid": None},
        {"kid": [KEY.kid]},
        {"kid": "../../keystore"},
        {"typ": "JWT"},
        {"typ": "INTERLOCK-PERMIT+JWT"},
    ],
)
def test_a_header_has_exactly_its_three_members(extra: dict[str, Any]) -> None:
    wrong = UnknownKey if extra.get("kid") == "../../keystore" else MalformedPermit
    refused(signed({**HEADER, **extra}), wrong)


@pytest.mark.parametrize("missing", ["alg", "typ", "kid"])
def test_a_header_lacks_nothing(missing: str) -> None:
    refused(signed({name: value for name, value in HEADER.items() if name != missing}), MalformedPermit)


def test_a_header_names_each_member_once() -> None:
    text = json.dumps(HEADER)[:-1] + ', "alg": "EdDSA"}'
    refused(signed(text.encode()), MalformedPermit)


# --- the text ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        "a.b.c",
        "e30.e30.e30",
        "é.e30.e30",
        " ",
        "x" * 20_000,
        None,
        b"a.b.c",
        7,
    ],
)
def test_what_is_no_token_is_refused(token: Any) -> None:
    refused(token, MalformedPermit)


def test_a_permit_has_one_spelling() -> None:
    head, body, signature = mint(CLAIMS, KEY).split(".")
    for part in (signature + "=", signature + "==", signature[:40] + "\n" + signature[40:], signature + "."):
        refused(f"{head}.{body}.{part}", MalformedPermit)
    last = signature[-1]
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        if other != last:
            refused(
                f"{head}.{body}.{signature[:-1]}{other}", BadSignature if other in "AQgw" else MalformedPermit
            )


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=12).map(base64.urlsafe_b64encode), st.data())
def test_base64url_is_read_in_its_one_spelling(spelled: bytes, data: st.DataObject) -> None:
    content, text = base64.urlsafe_b64decode(spelled), spelled.rstrip(b"=")
    assert decode(text) == content
    place = data.draw(st.integers(0, len(text)))
    other = (
        text[:place]
        + data.draw(st.binary(min_size=1, max_size=1))
        + text[place + data.draw(st.integers(0, 1)) :]
    )
    try:
        assert encode(decode(other)) == other
    except MalformedPermit:
        with_padding = other + b"=" * (-len(other) % 4)
        assert b"=" in other or not _is_canonical(with_padding)


def _is_canonical(spelled: bytes) -> bool:
    try:
        return base64.urlsafe_b64encode(base64.urlsafe_b64decode(spelled)) == spelled
    except ValueError:
        return False


def test_no_byte_of_a_permit_can_be_changed() -> None:
    token = mint(CLAIMS, KEY)
    for place in range(0, len(token), 7):
        if token[place] != ".":
            changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
            with pytest.raises(PermitError):
                verify(changed, KEYS, issuer=ISSUER, now=NOW)


@pytest.mark.parametrize(
    "payload", [b"[]", b"7", b"null", b"{", b'{"v":1,"v":1}', b"\xff", b'{"v":NaN}', b""]
)
def test_a_payload_is_one_strict_object(payload: bytes) -> None:
    refused(signed(payload=payload), MalformedPermit)


PARTS = st.one_of(
    st.sampled_from(mint(CLAIMS, KEY).split(".")),
    st.dictionaries(st.sampled_from([*HEADER, "crit", "v"]), st.text(max_size=5) | st.integers()).map(b64),
    st.binary(max_size=40).map(b64),
    st.text(max_size=20),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PARTS, max_size=4).map(".".join))
def test_whatever_comes_is_this_permit_or_refused_as_one(token: str) -> None:
    try:
        read = verify(token, KEYS, issuer=ISSUER, now=NOW)
    except PermitError:
        return
    assert read == CLAIMS


# --- claims -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(CLAIMS.to_json()))
@pytest.mark.parametrize("value", ["", None, True, -1, 1.5, [], "x\ud800", "…"])
def test_no_claim_takes_a_value_of_another_form(name: str, value: Any) -> None:
    payload = {**CLAIMS.to_json(), name: value}
    free = {"principal", "parent_action", "session", "agent", "topic", "namespace", "policy"}
    if name in free and (
        value == "…" or (value is None and name in ("principal", "parent_action", "session"))
    ):
        assert verify(signed(payload=payload), KEYS, issuer=ISSUER, now=NOW)
    elif (name, value) == ("offline", True):
        assert verify(signed(payload=payload), KEYS, issuer=ISSUER, now=NOW).offline
    else:
        with pytest.raises(PermitError):
            verify(signed(payload=payload), KEYS, issuer=ISSUER, now=NOW)


@pytest.mark.parametrize("name", sorted(CLAIMS.to_json()))
def test_no_claim_is_missing(name: str) -> None:
    payload = CLAIMS.to_json()
    del payload[name]
    refused(signed(payload=payload), MalformedPermit)


def test_claims_may_be_added_later() -> None:
    assert verify(signed(payload={**CLAIMS.to_json(), "later": [1]}), KEYS, issuer=ISSUER, now=NOW) == CLAIMS


@pytest.mark.parametrize("name", ["iat", "exp", "revision", "idx", "tier"])
def test_no_number_is_beyond_what_every_reader_of_json_agrees_on(name: str) -> None:
    refused(signed(payload={**CLAIMS.to_json(), name: 2**53}), MalformedPermit)


@pytest.mark.parametrize("v", [0, 2, "1", True, None])
def test_another_version_is_not_guessed_at(v: Any) -> None:
    refused(signed(payload={**CLAIMS.to_json(), "v": v}), MalformedPermit)


def test_the_audience_is_the_executor() -> None:
    refused(signed(payload={**CLAIMS.to_json(), "aud": "other-host"}), MalformedPermit)
    refused(signed(payload={**CLAIMS.to_json(), "aud": ["payments-host"]}), MalformedPermit)


def test_another_issuer_is_refused_even_with_a_known_key() -> None:
    refused(mint(dataclasses.replace(CLAIMS, issuer="interlock.local/x"), KEY), WrongIssuer)


# --- time -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lifetime", [121, 3600, 10**9])
def test_a_permit_that_lives_too_long_is_neither_minted_nor_read(lifetime: int) -> None:
    claims = dataclasses.replace(CLAIMS, expires_at=NOW + lifetime)
    with pytest.raises(ValueError):
        mint(claims, KEY)
    refused(signed(payload=claims.to_json()), LivesTooLong)


@pytest.mark.parametrize("lifetime", [0, -1])
def test_a_permit_ends_after_it_begins(lifetime: int) -> None:
    claims = dataclasses.replace(CLAIMS, expires_at=NOW + lifetime)
    with pytest.raises(ValueError):
        mint(claims, KEY)
    refused(signed(payload=claims.to_json()), MalformedPermit)


def test_time_is_compared_to_the_second_and_within_the_leeway() -> None:
    token = mint(CLAIMS, KEY)
    assert verify(token, KEYS, issuer=ISSUER, now=NOW + 119.999)
    refused(token, PermitExpired, now=NOW + 120)
    assert verify(token, KEYS, issuer=ISSUER, now=NOW + 124.9, leeway=5)
    refused(token, PermitExpired, now=NOW + 125, leeway=5)
    refused(token, NotYetValid, now=NOW - 1)
    assert verify(token, KEYS, issuer=ISSUER, now=NOW - 5, leeway=5)
    refused(token, NotYetValid, now=NOW - 6, leeway=5)
    assert verify(token, KEYS, issuer=ISSUER) == CLAIMS


@pytest.mark.parametrize("leeway", [-1, 5.1, 60])
def test_the_leeway_is_five_seconds_at_most(leeway: float) -> None:
    with pytest.raises(ValueError):
        verify(mint(CLAIMS, KEY), KEYS, issuer=ISSUER, now=NOW, leeway=leeway)


# --- key sets ---------------------------------------------------------------------------------------------


def test_a_thumbprint_is_that_of_rfc_8037() -> None:
    """RFC 8037, appendix A.3."""
    key = Ed25519PublicKey.from_public_bytes(
        base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    )
    assert thumbprint(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_a_key_set_is_read_by_us_and_by_others() -> None:
    document = json.loads(json.dumps(jwks([KEY.public])))
    assert list(read_jwks(document)) == [KEY.kid]
    assert jwt.PyJWKSet.from_dict(document)[KEY.kid].algorithm_name == "EdDSA"
    assert hashlib.sha256(json.dumps(document).encode()).digest()


def test_a_key_under_another_name_spoils_the_set() -> None:
    document = jwks([KEY.public])
    for kid in ("other", PermitKey.generate().kid, None):
        document["keys"][0]["kid"] = kid
        with pytest.raises(ValueError):
            read_jwks(document)


def test_keys_of_other_kinds_are_left_out() -> None:
    document = jwks([KEY.public])
    document["keys"] += [
        json.loads(jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key())),
        json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key())),
        json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(ed448.Ed448PrivateKey.generate().public_key())),
        {"kty": "oct", "k": "AAAA", "kid": KEY.kid},
    ]
    assert list(read_jwks(document)) == [KEY.kid]


@pytest.mark.parametrize(
    "document", [{}, {"keys": {}}, [], None, {"keys": [{"kty": "OKP", "crv": "Ed25519"}]}]
)
def test_what_is_no_key_set_is_refused(document: Any) -> None:
    with pytest.raises(ValueError):
        read_jwks(document)


def test_a_key_never_shows_itself() -> None:
    assert repr(KEY) == f"PermitKey({KEY.kid})"
