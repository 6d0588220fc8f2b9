"""Limits: the constraints that every connector enforces in the same way, before anything is opened.

1. A constraint in force that the connector does not know stops the action; nothing is opened.
2. `max_amount_usd` compares the size of the amount: the sign says which way money goes, the limit is on how
   much. An amount that is not known is over every limit.
3. `max_runtime_sec` ends the action where it is not longer than the connector's own patience; only then is
   its end a breach.
"""

from __future__ import annotations

from collections.abc import Set
from decimal import Decimal

from interlock.model.verdicts import Constraints


class NotSent(Exception):
    """A call refused before anything was opened.

    Attributes:
        reason: a clause for a person, without a full stop, an argument or a secret.
        breach: the constraint that refused it, by its policy key; None where none did.
    """

    def __init__(self, reason: str, breach: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.breach = breach


def check_limits(
    constraints: Constraints, enforced: Set[str], amount_usd: Decimal | None, through: str
) -> None:
    """Rules 1 and 2. `through` names the connector in a reason, as in "over HTTP".

    Raises:
        NotSent: a constraint cannot be enforced, or is broken already.
    """
    for name in constraints.named:
        if name not in enforced:
            raise NotSent(f"the constraint {name} cannot be enforced {through}", name)
    ceiling = constraints.max_amount_usd
    if ceiling is None:
        return
    if amount_usd is None or not amount_usd.is_finite():
        raise NotSent(f"at most {ceiling} USD is allowed, and the amount is not known", "max_amount_usd")
    if abs(amount_usd) > ceiling:
        raise NotSent(f"the amount is over the limit of {ceiling} USD", "max_amount_usd")


def time_limit(constraints: Constraints, timeout_sec: float) -> tuple[float, str | None]:
    """Seconds that the action may take, and the constraint that its end would breach (rule 3).

    Raises:
        NotSent: there is no time at all.
    """
    limit, breach = timeout_sec, None
    if constraints.max_runtime_sec is not None and constraints.max_runtime_sec <= timeout_sec:
        limit, breach = float(constraints.max_runtime_sec), "max_runtime_sec"
    if not limit > 0:
        raise NotSent("there is no time to run it", breach)
    return limit, breach
