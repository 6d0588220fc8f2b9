"""Credentials: what a tool asks for, fetched when it is called and not before.

1. A waiting action holds the name of a credential, never its value. The value is asked for at each execution.
2. A value that starts with ``{`` is a JSON object that says how to get one; anything else is the value
   itself. The one way there is ``{"oauth2": {…}}``: a client's own credentials, or a refresh token.
3. An access token is kept in memory until a minute before it ends, the recipe changes, or until the tool
   answers 401 to it. A token that ended while the action waited is replaced at execution. One that is not
   `REFUSED_SEC` old is not replaced because of a 401: a tool that always says so is no reason to ask the
   endpoint for each action.
4. A refresh token that the server replaces is written back before its access token is used: a process that
   dies then does not leave a spent one behind. One process at a time renews. Where it cannot be written (a
   full disk), nothing is sent; it is kept in memory, and written before the next one is asked for.
5. A token endpoint is reached by https, or on this machine. No redirect is followed, no proxy of the
   environment is used, an answer larger than `MAX_ANSWER` is not read. It is named by whoever keeps this
   machine, and is no part of what an action reaches: `network_allowlist` does not speak of it.
6. Whatever goes wrong before a call has its credential, nothing was sent.
7. No error here carries a secret, nor what the endpoint answered beyond its error code.

Sources: RFC 6749, sections 4.4, 5 and 6; RFC 6750 (Bearer).
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, Protocol, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from interlock.dispatch.limits import NotSent
from interlock.model.errors import HomeUnusable, InterlockError, Unavailable
from interlock.model.text import visible

Credential: TypeAlias = Callable[[str], "str | None | Awaitable[str | None]"]
"""The whole value for a credential's name; None where there is none. An `InterlockError` counts as none."""

Refused: TypeAlias = Callable[[str], None]
"""Told the name of a credential whose value a tool would not have."""

MAX_ANSWER = 1 << 16
PATIENCE_SEC = 10.0
EARLY_SEC = 60.0
LIFE_SEC = 300.0
"""How long a token is used whose endpoint does not say when it ends."""
LONGEST_SEC = 24 * 3600.0
REFUSED_SEC = 30.0

_URL = r"^(https://[^\s@]+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?(/[^\s@]*)?)$"
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+", re.ASCII)
_CODE = re.compile(r"[a-z_]{1,40}", re.ASCII)
_Word: TypeAlias = Annotated[str, Field(min_length=1, max_length=8_192)]


async def authorization(credential: Credential, name: str) -> str:
    """The value of a credential, for a call that cannot be made without it.

    Raises:
        NotSent: there is none, or it cannot be read or renewed now.
    """
    try:
        value = credential(name)
        if inspect.isawaitable(value):
            value = await value
    except Exception as error:  # noqa: BLE001 (rule 6, whatever a store raises)
        why = error.slug if isinstance(error, InterlockError) else type(error).__name__
        raise NotSent(f"the credential {visible(name, 64)} cannot be read ({why})") from None
    if value is None:
        raise NotSent(f"the credential {visible(name, 64)} is not configured here")
    return value


class Store(Protocol):
    """Where values are kept."""

    def read(self, name: str) -> str | None:
        """The value under a name. Raises `InterlockError` where it cannot be read."""

    def write(self, name: str, value: str) -> bool:
        """Replace it, durably; False where it was given in a way that cannot be written back."""

    def lock(self, name: str) -> Callable[[], None] | None:
        """What gives it back, if no process and no other call of this one has it; never waits."""


class OAuth2(BaseModel):
    """How to get an access token.

    Attributes:
        grant: `client_credentials`, or `refresh_token`.
        client_auth: how the client shows who it is (RFC 6749, section 2.3.1).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    token_url: Annotated[str, Field(pattern=_URL, max_length=2_000)]
    client_id: _Word
    client_secret: _Word | None = None
    grant: Literal["client_credentials", "refresh_token"] = "client_credentials"
    refresh_token: _Word | None = None
    scope: _Word | None = None
    client_auth: Literal["client_secret_basic", "client_secret_post", "none"] = "client_secret_basic"


class _Recipe(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    oauth2: OAuth2


class Credentials:
    """The credentials of one installation, as connectors ask for them. Safe to share between threads.

    Args:
        now: seconds of a clock that does not jump.
    """

    def __init__(self, store: Store, *, now: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._now = now
        self._tokens: dict[str, tuple[OAuth2, str, float, float]] = {}
        """What it was asked for with, the token, until when it is used, and when it was had."""
        self._unwritten: dict[str, tuple[OAuth2, OAuth2]] = {}
        """A recipe whose refresh token is spent, and the one that has to be written in its place."""
        self._lock = threading.Lock()

    async def __call__(self, name: str) -> str | None:
        """The Authorization header's value for a name, or None.

        Raises:
            HomeUnusable: what is kept under the name cannot be used. Unavailable: no token could be had.
        """
        value = await asyncio.to_thread(self._store.read, name)
        if value is None or not value.lstrip().startswith("{"):
            return value
        found = self._fresh(name, _recipe(name, value))
        if found is not None:
            return found
        unlock = await self._turn(name)
        try:
            value = await asyncio.to_thread(self._store.read, name)
            if value is None:
                return None
            recipe = _recipe(name, value)
            spent, kept = self._unwritten.get(name, (None, recipe))
            if spent == recipe:
                await self._write(name, spent, kept)
                recipe = kept
            found = self._fresh(name, recipe)
            return found if found is not None else await self._renewed(name, recipe)
        finally:
            unlock()

    async def _turn(self, name: str) -> Callable[[], None]:
        """Wait until nobody else renews it; a wait in a thread could not be given up."""
        until = time.monotonic() + 2 * PATIENCE_SEC
        while True:
            unlock = self._store.lock(name)
            if unlock is not None:
                return unlock
            if time.monotonic() > until:
                raise Unavailable(f"Another process has been renewing {visible(name, 64)} for too long.")
            await asyncio.sleep(0.02)

    def refused(self, name: str) -> None:
        """The tool would not have the value: the next call asks for a new one, where this one is not new."""
        with self._lock:
            found = self._tokens.get(name)
            if found is not None and self._now() - found[3] >= REFUSED_SEC:
                del self._tokens[name]

    def _fresh(self, name: str, recipe: OAuth2) -> str | None:
        with self._lock:
            found = self._tokens.get(name)
        if found is None or found[0] != _asked(recipe) or self._now() >= found[2]:
            return None
        return found[1]

    async def _renewed(self, name: str, recipe: OAuth2) -> str:
        asked = self._now()
        token = await _fetch(name, recipe)
        renewed = token.get("refresh_token")
        if recipe.grant == "refresh_token" and isinstance(renewed, str) and renewed != recipe.refresh_token:
            await self._write(name, recipe, recipe.model_copy(update={"refresh_token": renewed}))
        header = f"Bearer {token['access_token']}"
        life = token.get("expires_in")
        lasts = LIFE_SEC
        if isinstance(life, int | float) and not isinstance(life, bool):
            lasts = float(min(max(0, life), LONGEST_SEC))  # in this order NaN is 0, and none is too large
        with self._lock:
            self._tokens[name] = (_asked(recipe), header, asked + lasts - EARLY_SEC, self._now())
        return header

    async def _write(self, name: str, spent: OAuth2, kept: OAuth2) -> None:
        """Write a replaced refresh token back. Raises `HomeUnusable`."""
        self._unwritten[name] = (spent, kept)
        text = _Recipe(oauth2=kept).model_dump_json(exclude_none=True)
        try:
            written, why = await asyncio.to_thread(self._store.write, name, text), ""
        except OSError as error:
            written, why = False, f" ({error.strerror})"
        if not written:
            raise HomeUnusable(
                f"The refresh token of {visible(name, 64)} was replaced and cannot be written back{why}.",
                fix=f"Keep it in the home's file credentials/{visible(name, 64)}, where it can be written.",
            )
        del self._unwritten[name]


def _recipe(name: str, value: str) -> OAuth2:
    try:
        recipe = _Recipe.model_validate(json.loads(value)).oauth2
    except (ValueError, ValidationError):
        raise HomeUnusable(
            f"The credential {visible(name, 64)} is no {{'oauth2': …}} that is understood."
        ) from None
    lacking = (
        recipe.refresh_token is None if recipe.grant == "refresh_token" else recipe.client_secret is None
    )
    if lacking:
        raise HomeUnusable(f"The credential {visible(name, 64)} lacks what {recipe.grant} needs.")
    return recipe


def _asked(recipe: OAuth2) -> OAuth2:
    """What a token was asked for with. Another process may have replaced the refresh token since: that
    changes nothing about the token."""
    return recipe.model_copy(update={"refresh_token": None})


async def _fetch(name: str, recipe: OAuth2) -> dict[str, Any]:
    """A token from its endpoint. Raises `Unavailable`."""
    # Only who has such a credential pays for importing these.
    import httpx2
    from authlib.integrations.base_client import OAuthError
    from authlib.integrations.httpx_client import AsyncOAuth2Client

    from interlock.dispatch.wire import Bounded, Redirected, TooLong

    where = f"There is no token for {visible(name, 64)}"
    client: Any = cast(Any, AsyncOAuth2Client)(
        recipe.client_id,
        recipe.client_secret,
        token_endpoint_auth_method=recipe.client_auth if recipe.client_secret is not None else "none",
        scope=recipe.scope,
        transport=Bounded(recipe.token_url, MAX_ANSWER),
        timeout=PATIENCE_SEC,
        trust_env=False,
    )
    asked = {"refresh_token": recipe.refresh_token} if recipe.grant == "refresh_token" else {}
    try:
        async with asyncio.timeout(PATIENCE_SEC), client:
            token = dict(await client.fetch_token(recipe.token_url, grant_type=recipe.grant, **asked))
    except OAuthError as error:
        code = str(error.error)
        raise Unavailable(f"{where}: the endpoint said {code if _CODE.fullmatch(code) else 'no'}.") from None
    except (httpx2.HTTPError, TooLong, Redirected, OSError, ValueError, ArithmeticError, TypeError) as error:
        raise Unavailable(f"{where} ({type(error).__name__}).") from None
    access, kind = token.get("access_token"), str(token.get("token_type", "")).lower()
    if not isinstance(access, str) or not _TOKEN.fullmatch(access) or kind != "bearer":
        raise Unavailable(f"{where}: the endpoint answered with something else.")
    return token
