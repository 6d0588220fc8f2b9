"""Opening a home from the command line: only where there is one, and with words for what goes wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.model.errors import HomeUnusable

if TYPE_CHECKING:
    from interlock.home import Home
    from interlock.policy import Policy


def here() -> str:
    """Who acts, for the ledger: whoever has this operating-system user on this host."""
    return f"cli:uid-{os.getuid()}"


def require(path: Path) -> None:
    """Raises `HomeUnusable` where nobody made a home: a mistyped path must not become a new one."""
    from interlock.home.database import begun

    if not begun(path):
        raise HomeUnusable(
            f"There is no home at {path}.",
            fix="Name it with --home DIR, or make one: interlock serve --policy FILE.",
        )


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Whatever the database or the file system refuses about a home, as `HomeUnusable`."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except DBAPIError as error:
        raise HomeUnusable(f"The journal in {path} cannot be used: {error.orig}.") from error
    except OSError as error:
        raise HomeUnusable(f"{error.filename or path} cannot be used: {error.strerror or error}.") from error


@contextmanager
def opened(path: Path, *, create: bool = False, recovering: bool = False) -> Iterator[Home]:
    """An open home, closed at the end.

    Args:
        recovering: open it also where its ledger has to be recovered.

    Raises:
        HomeUnusable: (or a subclass) there is none, and `create` is false; or it cannot be used.
    """
    from interlock.home import Home

    if not create:
        require(path)
    with readable(path):
        home = Home.open(path, by=here(), recovering=recovering)
        try:
            yield home
        finally:
            home.close()


def in_force(policy: Policy, home: Path | None) -> bool | None:
    """Whether a policy is the one in force in a home; None where no home was named."""
    if home is None:
        return None
    with opened(home) as open_home:
        return open_home.gate.active() == policy.snapshot


def catalogued(topics: Sequence[str], home: Path | None) -> list[str] | None:
    """Those of the topics that the policy in force in a home catalogues; None where no home was named."""
    if home is None:
        return None
    with opened(home) as open_home:
        if open_home.gate.active() is None:
            return []
        policy = open_home.gate.policy
        return [topic for topic in topics if policy.entry(topic) is not None]
