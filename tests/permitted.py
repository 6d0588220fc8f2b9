"""One permit that holds, for the tests of permits: its key, its issuer, its time and its claims."""

from __future__ import annotations

from interlock.permit import Claims, PermitKey

ISSUER = "interlock.local/0123456789abcdef"
NOW = 1_800_000_000
KEY = PermitKey.generate()
CLAIMS = Claims(
    issuer=ISSUER,
    executor="payments-host",
    action="act_" + "1" * 32,
    permit="prm_" + "2" * 32,
    issued_at=NOW,
    expires_at=NOW + 120,
    action_hash="3" * 64,
    nonce=bytes(32),
    namespace="default",
    topic="pay.refund",
    agent="support",
    principal="acme",
    parent_action=None,
    session="s-1",
    revision=1,
    policy="v1:" + "4" * 64,
    entry=7,
    tier=3,
    offline=False,
    constraints={"max_amount_usd": "100"},
    key="5" * 64,
)
