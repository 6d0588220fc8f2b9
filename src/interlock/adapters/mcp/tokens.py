"""Bearer tokens of an OAuth issuer, for a gateway that stands behind one: who may act as which key.

1. A token is a JWT that the issuer signed with a key it publishes, by an asymmetric algorithm that is named
   here; the algorithm in the token's head only picks one of these, and has to fit the key.
2. It counts for this gateway: it names this audience, or carries this scope, or both, as configured; at least
   one of them is. It is an access token, has not expired, and names its issuer exactly.
3. The issuer says which client asks. Which key of the home that client acts as, and so which agent and which
   topics, is the word of the file alone; the key may be revoked, and then the client is nobody.
4. The issuer's keys are fetched when a token names one that is not known, at most every `AGAIN_SEC`, and
   again after `FRESH_SEC`. Keys that could not be fetched again for `STALE_SEC` do not count. What is read is
   bounded, and no redirect is followed.
5. Why a token was refused is logged, without the token; whoever sent it is told that it was.

Sources: RFC 9068 (JWT access tokens), RFC 8414 and OpenID Connect Discovery 1.0, RFC 8725 (best practice).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import jwt

from interlock.dispatch.wire import Bounded, Compressed, Redirected, TooLong
from interlock.model.canonical import parse_json
from interlock.model.errors import HomeUnusable, InvalidInput
from interlock.model.text import visible

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
AGAIN_SEC = 10.0
FRESH_SEC = 600.0
STALE_SEC = 3_600.0
LEEWAY_SEC = 30
MAX_ANSWER = 262_144
MAX_TOKEN = 16_384
TIMEOUT_SEC = 5.0
_TYPES = ("", "jwt", "at+jwt", "application/at+jwt")
_MEMBERS = {"resource", "issuer", "clients", "audience", "scope", "jwks_uri", "algorithms"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trusted:
    """An issuer, and which of its clients act as which keys.

    Attributes:
        resource: the gateway's own URL, as clients reach it. issuer: as its tokens name it.
        clients: keys' ids by client. audience, scope: what a token has to be for; not both are None.
        jwks_uri: where the issuer's keys are; None: where it says itself.
    """

    resource: str
    issuer: str
    clients: Mapping[str, str]
    audience: str | None
    scope: str | None
    jwks_uri: str | None = None
    algorithms: tuple[str, ...] = ALGORITHMS


@dataclass(frozen=True, slots=True)
class Shown:
    """What a token shows: the key that its client acts as, what for, and until when (seconds, UTC)."""

    key: str
    scopes: tuple[str, ...]
    expires_at: int


def read_trusted(file: Path) -> Trusted:
    """The issuer that a file describes.

    Raises:
        HomeUnusable: there is none, or it does not say what it has to.
    """
    try:
        return _trusted(parse_json(file.read_bytes()))
    except OSError as error:
        raise HomeUnusable(f"{file} cannot be read: {error.strerror}.") from error
    except InvalidInput as error:
        raise HomeUnusable(f"{file} cannot be used: {error}.") from error


def _trusted(given: Any) -> Trusted:
    if not isinstance(given, dict):
        raise InvalidInput("it is no JSON object")
    if unknown := sorted(given.keys() - _MEMBERS):
        raise InvalidInput(
            f"there is no member {visible(unknown[0], 80)}; there are {', '.join(sorted(_MEMBERS))}"
        )
    texts = {name: _text(given, name) for name in ("resource", "issuer", "audience", "scope", "jwks_uri")}
    resource, issuer = _url(texts["resource"], "resource"), _url(texts["issuer"], "issuer")
    clients = given.get("clients")
    if not isinstance(clients, dict) or not clients or not all(isinstance(k, str) for k in clients.values()):
        raise InvalidInput("clients names a key's id (see `interlock keys list`) for each client")
    if texts["audience"] is None and texts["scope"] is None:
        raise InvalidInput(
            "without an audience or a scope, every token of the issuer would count here", path="audience"
        )
    algorithms = given.get("algorithms", list(ALGORITHMS))
    if not isinstance(algorithms, list) or not algorithms or not set(algorithms) <= set(ALGORITHMS):
        raise InvalidInput(f"algorithms are some of {', '.join(ALGORITHMS)}", path="algorithms")
    jwks_uri = None if texts["jwks_uri"] is None else _url(texts["jwks_uri"], "jwks_uri")
    return Trusted(resource, issuer, clients, texts["audience"], texts["scope"], jwks_uri, tuple(algorithms))


def _text(given: Mapping[str, Any], name: str) -> str | None:
    found = given.get(name)
    if found is not None and (not isinstance(found, str) or not found):
        raise InvalidInput(f"{name} is a text", path=name)
    return found


def _url(text: str | None, name: str) -> str:
    """A URL that is encrypted, or stays on this machine. Raises `InvalidInput`."""
    parts = urlsplit(text or "")
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if (
        text is None
        or not parts.hostname
        or not (parts.scheme == "https" or (local and parts.scheme == "http"))
    ):
        raise InvalidInput(f"{name} is an https URL", path=name)
    return text


class Issuer:
    """Looks at tokens of one issuer. For one event loop.

    Args:
        now: seconds, monotonic.
    """

    def __init__(self, trusted: Trusted, *, now: Callable[[], float] = time.monotonic) -> None:
        self.trusted = trusted
        self._now = now
        self._keys: dict[str, dict[str, Any]] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching = asyncio.Lock()

    async def shown(self, token: str) -> Shown | None:
        """What a token shows; None for one that does not count here now."""
        try:
            return await self._shown(token)
        except (jwt.PyJWTError, _Refused, ValueError) as error:
            _log.warning("a token was refused: %s", visible(str(error), 300))
            return None

    async def _shown(self, token: str) -> Shown:
        trusted = self.trusted
        if len(token) > MAX_TOKEN:
            raise _Refused("it is too long")
        head = jwt.get_unverified_header(token)
        algorithm, kid = head.get("alg"), head.get("kid")
        if algorithm not in trusted.algorithms:
            raise _Refused(f"its algorithm is {visible(str(algorithm), 40)}")
        if str(head.get("typ") or "").lower() not in _TYPES:
            raise _Refused("it is no access token")
        key = await self._key(kid)
        if key.get("alg", algorithm) != algorithm:
            raise _Refused("its key is for another algorithm")
        claims = jwt.decode(
            token,
            jwt.PyJWK(key, algorithm=algorithm),
            algorithms=[algorithm],
            issuer=trusted.issuer,
            audience=trusted.audience,
            leeway=LEEWAY_SEC,
            options={
                "require": ["exp", "iss"] if trusted.audience is None else ["exp", "iss", "aud"],
                "verify_aud": trusted.audience is not None,
            },
        )
        if claims.get("token_use", "access") != "access":
            raise _Refused("it is no access token")
        client = claims.get("client_id", claims.get("azp"))
        if not isinstance(client, str) or client not in trusted.clients:
            raise _Refused(f"nobody said as which key the client {visible(str(client), 80)} acts")
        return Shown(trusted.clients[client], _scopes(claims), int(claims["exp"]) + LEEWAY_SEC)

    # --- the issuer's keys -------------------------------------------------------------------------------

    async def _key(self, kid: object) -> dict[str, Any]:
        if kid is not None and not isinstance(kid, str):
            raise _Refused("its key has no name")
        if self._old(FRESH_SEC) or self._found(kid) is None:
            await self._fetch(kid)
        found = None if self._old(STALE_SEC) else self._found(kid)
        if found is None:
            raise _Refused(f"the issuer has no key {visible(str(kid), 80)}")
        return found

    def _found(self, kid: str | None) -> dict[str, Any] | None:
        """The key of that name; a token that names none has the only one."""
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    def _old(self, seconds: float) -> bool:
        return self._fetched_at is None or self._now() - self._fetched_at > seconds

    async def _fetch(self, kid: str | None) -> None:
        """Read the issuer's keys, unless somebody just has. Where that fails the known ones stay."""
        async with self._fetching:
            if self._found(kid) is not None and not self._old(FRESH_SEC):
                return
            if self._tried_at is not None and self._now() - self._tried_at < AGAIN_SEC:
                return
            self._tried_at = self._now()
            try:
                found = (await _read(self.trusted.jwks_uri or await self._jwks_uri())).get("keys")
                keys = [each for each in found or () if isinstance(each, dict) and _signs(each)]
            except (
                httpx2.HTTPError,
                OSError,
                InvalidInput,
                TooLong,
                Redirected,
                Compressed,
                _Refused,
            ) as error:
                _log.warning("the issuer's keys cannot be read: %s", visible(str(error) or repr(error), 300))
                return
            self._keys = {str(each.get("kid", number)): each for number, each in enumerate(keys)}
            self._fetched_at = self._now()

    async def _jwks_uri(self) -> str:
        """Where the issuer says that its keys are."""
        issuer = self.trusted.issuer
        parts, path = urlsplit(issuer), urlsplit(issuer).path.rstrip("/")
        openid = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        server = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{path}"
        try:
            said = await _read(openid)
        except (_Refused, Redirected):
            said = await _read(server)
        if said.get("issuer") != issuer:
            raise _Refused("it says of itself that it is another issuer")
        return _url(_text(said, "jwks_uri"), "jwks_uri")


class _Refused(Exception):
    """Why a token, or an answer of the issuer, does not count."""


async def _read(url: str) -> dict[str, Any]:
    transport = Bounded(url, MAX_ANSWER)
    async with httpx2.AsyncClient(transport=transport, trust_env=False, timeout=TIMEOUT_SEC) as client:
        answer = await client.get(url)
    if answer.status_code != 200:
        raise _Refused(f"{url} answers {answer.status_code}")
    said = parse_json(answer.content)
    if not isinstance(said, dict):
        raise _Refused(f"{url} does not answer with an object")
    return said


def _signs(key: Mapping[str, Any]) -> bool:
    """Whether it is a public key for signatures."""
    return key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig"


def _scopes(claims: Mapping[str, Any]) -> tuple[str, ...]:
    found = claims.get("scope", claims.get("scp"))
    if isinstance(found, str):
        return tuple(found.split())
    return tuple(map(str, found)) if isinstance(found, list) else ()
