"""The interview: five questions about each tool, and the policy that follows from the answers.

1. The questions are those of the decision flowchart this project implements, one for each pattern of
   oversight: a gate before it runs, exceptions only, autonomy that is earned, audits of a sample, review of
   what comes out. Most policies combine two or three.
2. "Irreversible" is tier 4: a person always decides. Otherwise a tool keeps the tier its name suggests, at
   most 3, and at tier 3 somebody is asked unless another answer says that it runs.
3. "Routine" lets it run, except where the agent is unsure or does not say how sure it is. "Too many to
   review" lets it run. Neither moves what always needs a person: tier 4, messages to outsiders, deletions,
   rights, and amounts above the policy's limit. Where such a tag stands in the way, the draft says so.
4. "New" puts the tool under autonomy levels: at level 0 all of it is asked about, and an agent earns its way.
5. What a section asks for and this version does not enforce yet is marked in the draft.

Pure: who asks the questions, and on which terminal, is the command's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal
from typing import Any

from interlock.authoring import entries, names
from interlock.authoring.arguments import Arguments
from interlock.authoring.draft import Draft, DraftAction, DraftCase, DraftRule, Noted, one_line
from interlock.authoring.foreign import read_json
from interlock.authoring.import_mcp import draft_from_mcp
from interlock.model.errors import InvalidInput, MissingField, UnknownField, WrongType
from interlock.policy.findings import nearest

MAX_NAMES = 500
UNSURE_BELOW = Decimal("0.7")
MONEY_ABOVE_USD = 100
_NEVER_ALONE = frozenset({"external-comms", "delete", "privilege"})
_LATER = "accepted, not yet enforced"


@dataclass(frozen=True, slots=True)
class Answers:
    """What a person says about one tool."""

    irreversible: bool = False
    routine: bool = False
    new: bool = False
    volume: bool = False
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """One of the questions. `key` is its name in `Answers`."""

    key: str
    words: str
    example: str


QUESTIONS: Sequence[Asked] = (
    Asked(
        "irreversible",
        "Can it not be taken back, or could it do harm on a large scale?",
        "deleting production data, writing to customers, going live, moving a lot of money",
    ),
    Asked(
        "routine",
        "Is it routine, with an edge case now and then?",
        "customer support, data processing, drafting text",
    ),
    Asked(
        "new",
        "Is the agent, or what it works on, new, so that trust has to be earned?",
        "a first deployment, another team, after an incident",
    ),
    Asked(
        "volume",
        "Will there be so many that nobody could review them all?",
        "thousands of tickets, moderation in bulk",
    ),
    Asked(
        "sensitive",
        "Could its result hold sensitive data?",
        "database queries, customer records, other teams' systems",
    ),
)


# --- tools and answers ------------------------------------------------------------------------------------


def tools_from_text(
    text: str, *, agent: str, server: str = ""
) -> tuple[tuple[DraftAction, ...], tuple[str, ...]]:
    """Drafted entries from a JSON list of names, or from an MCP tool list, and what was left out of it.

    Args:
        agent: what bare names stand below.
        server: what the tools of a list stand below that does not name their server; the agent's name else.

    Raises:
        InvalidInput: (a subclass) it is neither, or nothing in it can be catalogued.
    """
    data = read_json(text)
    if isinstance(data, list) and data and all(isinstance(item, str) for item in data):
        return tools_from_names(data, agent=agent), ()
    draft = draft_from_mcp(text, server=server or agent)
    if not draft.actions:
        raise InvalidInput(f"none of its tools can be catalogued: {draft.remarks[0]}", path="tools")
    return draft.actions, draft.remarks


def tools_from_names(listed: Iterable[str], *, agent: str) -> tuple[DraftAction, ...]:
    """Drafted entries from names: topics as they are, others below the agent's name.

    Raises:
        InvalidInput: a name cannot be a topic, two become the same, or there are none or too many.
    """
    drafted: dict[str, DraftAction] = {}
    for name in listed:
        topic = names.topic(name) if "." in name else names.topic(agent, name)
        if topic is None:
            raise InvalidInput(f"{one_line(name, 80)!r} cannot be a topic", path="tools")
        if topic in drafted:
            raise InvalidInput(f"{one_line(name, 80)!r} is there already, as {topic}", path="tools")
        drafted[topic] = entries.entry(topic, name, Arguments(None), reads=entries.reading(name))
    if not drafted or len(drafted) > MAX_NAMES:
        raise InvalidInput(f"{len(drafted)} tools; expected 1 to {MAX_NAMES}", path="tools")
    return tuple(drafted.values())


def tools_from_answers(text: str, *, agent: str) -> tuple[DraftAction, ...]:
    """Drafted entries for the tools that a file of answers names. Raises `InvalidInput`."""
    data = read_json(text)
    if not isinstance(data, dict):
        raise WrongType("expected an object from topic to answers")
    return tools_from_names(data, agent=agent)


def suggested(action: DraftAction) -> Answers:
    """The answers a cautious person would give who knows only the name."""
    return Answers(irreversible=action.tier == 4, sensitive="secrets" in action.tags)


def read_answers(text: str, actions: Sequence[DraftAction]) -> dict[str, Answers]:
    """Answers by topic, from JSON: ``{"<topic>": {"irreversible": true}}``; suggested where not given.

    Raises:
        InvalidInput: (a subclass) it is not JSON, or names a tool or a question that does not exist.
    """
    data = read_json(text)
    if not isinstance(data, dict):
        raise WrongType("expected an object from topic to answers")
    known = {action.topic: suggested(action) for action in actions}
    keys = [field.name for field in fields(Answers)]
    for topic, given in data.items():
        path = f"$.{one_line(topic, 80)}"
        if topic not in known:
            raise UnknownField(f"there is no such tool{_hint(topic, known)}", path=path)
        if not isinstance(given, dict):
            raise WrongType(f"expected an object with {', '.join(keys)}", path=path)
        for key, value in given.items():
            if key not in keys:
                raise UnknownField(f"{one_line(key, 60)!r} is no question{_hint(key, keys)}", path=path)
            if not isinstance(value, bool):
                raise WrongType("answers are true or false", path=f"{path}.{key}")
        known[topic] = Answers(**{**asdict(known[topic]), **given})
    return known


def _hint(word: str, known: Iterable[str]) -> str:
    guess = nearest(word, known)
    return f"; did you mean {guess!r}?" if guess else ""


# --- the policy -------------------------------------------------------------------------------------------


def draft_from_answers(name: str, actions: Sequence[DraftAction], answers: Mapping[str, Answers]) -> Draft:
    """The policy and its tests. Every action needs its answers.

    Raises:
        MissingField: somebody did not answer about one of them.
    """
    for action in actions:
        if action.topic not in answers:
            raise MissingField("nobody answered about it", path=action.topic)
    drafted = [_answered(action, answers[action.topic]) for action in actions]
    guessed = all(answers[action.topic] == suggested(action) for action in actions)
    source = "the answers that each tool's name suggests" if guessed else "answers about each tool"
    chosen = _Chosen(drafted, answers)
    return Draft(
        name=name,
        heading=(
            f"Drafted by interlock init from {source}. Read `actions` as what can happen and "
            "how bad it is, `rules` as what happens before it does. Without a matching rule tier 1 runs and "
            "tiers 3 and 4 ask a person.",
            "Write the worst case of each action, and name owners and lanes: who is asked, for how long, "
            "and what happens when nobody answers.",
        ),
        actions=tuple(drafted),
        rules=tuple(_rules(chosen)),
        sections=_sections(chosen),
        cases=tuple(case for action in drafted for case in _cases(action, answers[action.topic])),
    )


def _answered(action: DraftAction, said: Answers) -> DraftAction:
    """The entry with the tier that follows from the first answer, and why."""
    if said.irreversible and action.tier == 4:
        return action  # as its name suggests: nobody had to say it
    if said.irreversible:
        why = "tier 4: it cannot be taken back, you say; a person always decides"
        return replace(action, tier=4, reviews=(why, *action.reviews[1:]))
    if action.tier == 4:
        why = "tier 3: its name says more, but it can be taken back, you say"
        action = replace(action, tier=3, reviews=(why, *action.reviews[1:]))
    if (said.routine or said.volume) and (reasons := _always_held(action)):
        note = f"a person is asked each time all the same, because of {' and '.join(reasons)}"
        action = replace(action, reviews=(*action.reviews, note))
    return action


def _always_held(action: DraftAction) -> list[str]:
    """What makes every call of it wait for a person, whatever rules say."""
    found = ["its tier"] if action.tier == 4 else []
    found += [f"the tag {tag}" for tag in action.tags if tag in _NEVER_ALONE]
    if {"deploy", "prod"} <= set(action.tags):
        found.append("the tags deploy and prod")
    if action.unknown_money:
        found.append("the tag money without an amount in dollars")
    return found


class _Chosen:
    """The topics behind each part of the policy."""

    def __init__(self, actions: Sequence[DraftAction], answers: Mapping[str, Answers]) -> None:
        asks = [action for action in actions if action.tier > 1 and not _always_held(action)]
        self.routine = [a.topic for a in asks if answers[a.topic].routine]
        self.volume = [a.topic for a in asks if answers[a.topic].volume and not answers[a.topic].routine]
        self.new = [a.topic for a in actions if answers[a.topic].new]
        self.new_reads = [a.topic for a in actions if answers[a.topic].new and a.tier == 1]
        self.sampled = [a.topic for a in actions if answers[a.topic].volume]
        self.sensitive = [a.topic for a in actions if answers[a.topic].sensitive]


def _rules(chosen: _Chosen) -> Iterable[DraftRule]:
    if chosen.routine:
        match = {"topics": chosen.routine}
        yield DraftRule("routine", "allow", "Routine work runs", match)
        yield DraftRule(
            "unsure",
            "require_approval",
            "The agent is not sure, or does not say how sure it is",
            {**match, "confidence_below": UNSURE_BELOW},
            reviews=("an agent that reports no confidence is held here every time",),
        )
    if chosen.volume:
        yield DraftRule(
            "too-many-to-review",
            "allow",
            "Too many to review each; a sample is audited",
            {"topics": chosen.volume},
            reviews=(f"audits are {_LATER}: until they are, nobody looks at these",),
        )


def _sections(chosen: _Chosen) -> dict[str, Any]:
    sections: dict[str, Any] = {}
    if chosen.new:
        sections["autonomy_levels"] = Noted(
            _levels(chosen),
            (
                "Every agent starts at level 0. A level stands in for the default of tiers 1 to 3, and never "
                "loosens a rule.",
            ),
        )
        sections["promotion_criteria"] = Noted(
            {
                "min_successful_actions": 50,
                "max_error_rate": Decimal("0.02"),
                "review_period_days": 7,
                "requires_human_sign_off": True,
            },
            (f"{_LATER}: nobody is promoted by this yet",),
        )
        sections["demotion_triggers"] = [
            "policy_violation",
            "safety_incident",
            {"error_rate_above": Decimal("0.05")},
        ]
    if chosen.sampled:
        sections["audit"] = Noted({"sampling": {"rate": Decimal("0.1"), "strategy": "stratified"}}, (_LATER,))
    if chosen.sensitive:
        rule = {
            "id": "sensitive-output",
            "match": {"topics": chosen.sensitive},
            "detect": ["pii", "secrets"],
            "decision": "redact",
            "reason": "Results may hold sensitive data",
        }
        sections["output"] = Noted({"default": "allow", "rules": [rule]}, (_LATER,))
    return sections


def _levels(chosen: _Chosen) -> dict[str, Any]:
    everything = {"match": {"topics": chosen.new}}
    ask, run = {**everything, "decision": "require_approval"}, {**everything, "decision": "allow"}
    reads = [{"match": {"topics": chosen.new_reads}, "decision": "allow"}] if chosen.new_reads else []

    def unless(*tags: str) -> list[dict[str, Any]]:
        match = {"topics": chosen.new, "risk_tags": list(tags)}
        return [{"match": match, "decision": "require_approval"}, run]

    return {
        "level_0": {"name": "supervised", "rules": [ask]},
        "level_1": {"name": "assisted", "rules": [*reads, ask]},
        "level_2": {"name": "semi-autonomous", "rules": unless("prod", "delete", "secrets")},
        "level_3": {"name": "autonomous", "rules": unless("delete", "secrets")},
    }


# --- its tests --------------------------------------------------------------------------------------------


def _cases(action: DraftAction, said: Answers) -> Iterable[DraftCase]:
    asked: dict[str, Any] = {"topic": action.topic}
    if action.args is not None:
        asked["args"] = action.example()
    held = {"decision": "require_approval", "tier": action.tier}
    runs = {"decision": "allow", "tier": action.tier}
    if _always_held(action):
        yield DraftCase(f"{action.topic} waits for a person", asked, held)
        return
    sure = {**asked, "signals": {"confidence": Decimal("0.95")}} if said.routine else asked
    if said.new:
        yield DraftCase(f"{action.topic} waits while the agent is supervised", sure, held)
        sure = {**sure, "level": 3}
        if "secrets" in action.tags:
            yield DraftCase(f"{action.topic} waits at every level", sure, held)
            return
        yield DraftCase(f"{action.topic} runs once the agent is autonomous", sure, runs)
    elif action.tier == 1 or said.routine or said.volume:
        yield DraftCase(f"{action.topic} runs", sure, runs)
    else:
        yield DraftCase(f"{action.topic} waits for a person", asked, held)
        return
    if said.routine and action.tier > 1:
        level = {"level": 3} if said.new else {}
        unsure = {**held, "rule": "unsure"}
        doubtful = {**asked, **level, "signals": {"confidence": Decimal("0.5")}}
        yield DraftCase(f"{action.topic} waits when the agent is not sure", doubtful, unsure)
        yield DraftCase(
            f"{action.topic} waits when the agent does not say how sure it is", {**asked, **level}, unsure
        )
    amount = action.dollars
    if amount is not None:
        more = {**sure, "args": {**action.example(), amount.name: MONEY_ABOVE_USD + 1}}
        yield DraftCase(f"{action.topic} waits above ${MONEY_ABOVE_USD}", more, held)
