"""``interlock keys rotate-permit-key``: another key signs permits from now on."""

from __future__ import annotations

from pathlib import Path

from interlock.cli import installation, report
from interlock.cli.options import HOME, AsJson, HomeDir


def rotate_permit_key(home: HomeDir = None, as_json: AsJson = False) -> None:
    """Replace the key that signs permits.

    Running servers sign with the new key at once. The old one stays in the published key set for ten minutes,
    and permits that it signed keep their two minutes. Hosts that share a database share this key: copy
    keystore/permit.pem and keystore/permit-former.json to each.
    """
    with installation.opened(home or Path(HOME)) as opened:
        before = opened.permit_keys.current().kid
        now = opened.permit_keys.rotate().kid
    report.answer(
        {"kid": now, "previous": before},
        [f"Permits are signed with {now} now; {before} is published for another ten minutes."],
        as_json=as_json,
    )
