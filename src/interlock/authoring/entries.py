"""One catalogue entry from a tool's name, its arguments and what else is said about it.

1. The tier is the highest that anything suggests: the verbs of the name, the things it speaks of, the
   arguments, and whatever the caller adds. Nothing lowers it.
2. A name that says nothing is taken to change something (tier 3), unless the caller knows better.
3. Every entry carries the reasons for its tier, for a person to review.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from interlock.authoring import arguments, names
from interlock.authoring.arguments import Arguments
from interlock.authoring.draft import DraftAction
from interlock.authoring.names import Evidence

UNKNOWN = Evidence(3, "no word of its name says what it does")


def reading(name: str) -> bool:
    """Whether every verb of a name reads, and there is one."""
    said = names.verbs(name)
    return bool(said) and all(one.tier == 1 for one in said)


def entry(
    topic: str,
    name: str,
    taken: Arguments,
    *,
    reads: bool,
    known: Evidence | None = None,
    also: Iterable[Evidence] = (),
    speaks_of: str | None = None,
    execute: Mapping[str, Any] | None = None,
    facts: tuple[str, ...] = (),
    quotes: tuple[str, ...] = (),
) -> DraftAction:
    """The entry.

    Args:
        reads: whether it only reads, as far as is known. If not, amounts and rights count.
        known: what is known of it whatever its name says; the verbs of the name can only add to it.
        speaks_of: more words than the name's, for the things it is about.
    """
    played = arguments.roles(taken.args)
    verbs = names.verbs(name)
    if known is not None:
        verbs = (known, *(one for one in verbs if one.tier > known.tier))
    tier, tags, why = names.conclude(
        [
            *(verbs or (UNKNOWN,)),
            *also,
            *names.things(speaks_of or name, changes=not reads),
            *arguments.evidence(taken.args, played, changes=not reads),
        ]
    )
    reviews = [f"tier {tier}: {'; '.join(why)}", *taken.reviews]
    if "money" in tags and "amount" not in played:
        reviews.append("no argument is an amount in dollars, so every call is held as money of unknown size")
    return DraftAction(
        topic,
        tier,
        tags,
        taken.args,
        played,
        arguments.title(topic, taken.args, played),
        execute,
        facts,
        quotes,
        tuple(reviews),
    )
