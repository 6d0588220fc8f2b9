"""Names: what the words of a tool's name and of its arguments suggest, and the topic a name becomes.

1. A name is split into words at case changes and at everything that is no letter or digit. A word counts
   only as a whole: ``undelete`` is not ``delete``.
2. A verb has a tier: reading is 1, sending and changing is 3, what cannot be taken back is 4. The highest of
   a name's verbs counts, so ``get_or_delete`` deletes and ``search_replace`` replaces. Words that are nouns
   as often as verbs (``post``, ``email``, ``order``) are verbs only where they come first.
3. A name becomes a topic's segment by lower-casing it and writing ``_`` for what a topic cannot hold. Two
   names that become the same topic stay two names: who drafts must say so and catalogue neither.
4. All this is a suggestion. Names are chosen by whoever wrote the tool; a person reviews what follows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from interlock.model.errors import BadTopic
from interlock.model.topics import parse_topic

_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BETWEEN = re.compile(r"[^a-z0-9]+")
_FOREIGN = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Evidence:
    """One reason for a tier: `why` completes "tier 3: …". `tags` are risk tags it suggests as well."""

    tier: int
    why: str
    tags: tuple[str, ...] = ()


def vocabulary(text: str) -> frozenset[str]:
    """A set of words."""
    return frozenset(text.split())


def words(name: str) -> tuple[str, ...]:
    """The words of a name, in lower case.

    >>> words("getHTTPStatus_v2")
    ('get', 'http', 'status', 'v2')
    """
    return tuple(filter(None, _BETWEEN.split(_CASE.sub("_", name).lower())))


def segment(name: str) -> str:
    """A name as one segment of a topic; empty where nothing of it can stand in one."""
    return _FOREIGN.sub("_", _CASE.sub("_", name).lower()).strip("_-")


def topic(*names: str) -> str | None:
    """The topic that names become together, dots in them kept; None where they become none."""
    segments = [segment(part) for name in names for part in name.split(".")]
    try:
        return parse_topic(".".join(segments))
    except BadTopic:
        return None


def unique(topics: Iterable[str | None]) -> frozenset[str]:
    """The topics that stand once among these."""
    return frozenset(name for name, count in Counter(topics).items() if count == 1 and name is not None)


# --- verbs ------------------------------------------------------------------------------------------------

_READS = vocabulary(
    "analyze browse check compare count describe diff download explain export fetch find get grep head "
    "health info inspect introspect list lookup measure peek ping preview query read retrieve scan "
    "search select show stat stats status summarize tail tree validate verify view watch whoami"
)
_CHANGES = vocabulary(
    "accept add adjust alter amend append apply approve archive assign attach block build cancel change "
    "checkin checkout clone close comment commit configure connect convert copy create disable dismiss "
    "draft duplicate edit enable enqueue file fix fork generate import increase insert install invite "
    "label link lock log make mark merge modify move mute navigate open out patch pause pin process "
    "provision push put rebase record register rename reopen repair replace report request reserve "
    "reset resolve restart restore resume retry review rotate save schedule set share sign star start "
    "stop store submit subscribe swap sync tag toggle transform trigger unassign unlink unlock "
    "unsubscribe update upload upsert write"
)
_FINAL = vocabulary(
    "clear delete destroy drop erase expire force kill nuke overwrite prune purge remove revoke rm shred "
    "terminate truncate uninstall unpublish wipe"
)
_SENDS = vocabulary("announce broadcast dm email mail message notify post publish reply send sms text tweet")
_PAYS = vocabulary(
    "bill book buy charge disburse order pay payout purchase refund remit sell trade transfer withdraw"
)
_SHIPS = vocabulary("deploy migrate promote release rollback rollout ship")
_GRANTS = vocabulary("authorize chmod chown elevate grant impersonate sudo")
_RUNS = vocabulary("bash cmd command eval exec execute invoke powershell run script shell spawn sql")

_KINDS: Sequence[tuple[frozenset[str], int, str, tuple[str, ...]]] = (
    (_FINAL, 4, "cannot be taken back", ("delete",)),
    (_GRANTS, 4, "changes who may do what", ("privilege",)),
    (_RUNS, 4, "runs what the agent writes", ("exec",)),
    (_SENDS, 4, "speaks to people, and there is no unsend", ("external-comms",)),
    (_SHIPS, 4, "changes what is live", ("deploy",)),
    (_PAYS, 3, "moves money or goods", ("money",)),
    (_CHANGES, 3, "changes something", ("write",)),
    (_READS, 1, "reads", ("read",)),
)
_OFTEN_NOUNS = vocabulary(
    "bill book build cmd command comment commit draft email file fork label link log mail message order "
    "post record release report request review schedule script share sms sql star tag text trade tweet"
)
_HAVE_RUNS = vocabulary("ci job pipeline task test workflow")
"""Things whose ``run`` is a thing as well, once a name has said that it reads."""
_JOINS = frozenset({"and", "or", "then"})


def verbs(name: str) -> tuple[Evidence, ...]:
    """What the verbs of a name suggest; nothing where it has none that is known here.

    A word that is a noun as often as a verb counts only where it comes first or is joined to a verb:
    ``get_release`` reads a release, ``get_or_release`` and ``get_delete`` do more.
    """
    parts = words(name)
    found: list[Evidence] = []
    for place, word in enumerate(parts):
        before = parts[place - 1] if place else ""
        joined = before in _JOINS
        if word == "run" and before in _HAVE_RUNS and any(one.tier == 1 for one in found):
            continue
        if word in _OFTEN_NOUNS and not joined and (found or place > 1):
            continue
        for known, tier, does, tags in _KINDS:
            if word in known:
                found.append(Evidence(tier, f"{word!r} {does}", tags))
                break
    return tuple(found)


# --- things -----------------------------------------------------------------------------------------------

_MONEY = vocabulary(
    "billing charge charges invoice invoices payment payments payout payouts refund refunds salary "
    "transaction transactions wire"
)
_SECRETS = vocabulary("apikey credential credentials passwd password passwords secret secrets")
_RIGHTS = vocabulary("acl admin admins iam permission permissions privilege privileges role roles")


def things(name: str, *, changes: bool) -> tuple[Evidence, ...]:
    """What the things that a name speaks of suggest. `changes`: whether the tool may do more than read."""
    parts = frozenset(words(name))
    found = []
    if parts & _SECRETS:
        found.append(Evidence(3, f"{min(parts & _SECRETS)!r} opens other doors", ("secrets",)))
    if changes and parts & _MONEY:
        found.append(Evidence(3, f"{min(parts & _MONEY)!r} is about money", ("money",)))
    if changes and parts & _RIGHTS:
        found.append(Evidence(4, f"{min(parts & _RIGHTS)!r} is about who may do what", ("privilege",)))
    return tuple(found)


def conclude(evidence: Iterable[Evidence]) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """The tier that evidence suggests (the highest), the tags, and the reasons for that tier.

    Raises ValueError without any evidence.
    """
    found = list(evidence)
    tier = max(one.tier for one in found)
    tags = dict.fromkeys(tag for one in found for tag in one.tags)
    if len(tags) > 1:
        tags.pop("read", None)
    return tier, tuple(tags), tuple(dict.fromkeys(one.why for one in found if one.tier == tier))
