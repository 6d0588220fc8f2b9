"""What can go wrong with a demonstration, beside what it shows."""

from __future__ import annotations

from interlock.model.errors import InterlockError


class DemoFailed(InterlockError):
    """A step of the demonstration did not happen as it must."""

    slug = "demo-failed"
    title = "The demonstration did not run as it should"
    advice = "The logs shop.log and server.log in the demo's folder say more."


class NotOurFolder(InterlockError):
    """The folder holds something that no demonstration made."""

    slug = "demo-folder"
    title = "This folder is not the demo's"
    status = 409
    exit_code = 7
    advice = "Nothing was touched. Name an empty or a new folder: interlock demo --home DIR"


class PortTaken(InterlockError):
    slug = "port-taken"
    title = "The port is taken"
    status = 409
    exit_code = 7
