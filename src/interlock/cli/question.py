"""An action file: the question an author asks of a policy, and what is assumed for the rest.

1. The file is strict JSON. A key that is not known is an error with what was probably meant.
2. An author may assume what only trusted code or the catalogue says in a live system: risk tags, a tier,
   observed signals. Each assumption is said, and so is each that has no effect: on a catalogued topic the
   catalogue's tier and tags count, whatever the file says.
3. What is not given: arguments and tags are unknown, observed signals are at their baseline, confidence was
   not reported.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field, ValidationError

from interlock.model.actions import Signals
from interlock.model.canonical import Json, parse_json
from interlock.model.errors import (
    InvalidInput,
    MissingField,
    NumberOutOfRange,
    UnknownField,
    WrongType,
)
from interlock.model.money import decimal_of
from interlock.model.topics import parse_topic
from interlock.model.verdicts import Tier
from interlock.policy import CatalogueEntry, Policy, Question
from interlock.policy.document import Count, Share, Spec, Tag, TierNumber
from interlock.policy.findings import nearest


class SignalsSpec(Spec):
    """Signals as a file gives them. Null stands for "nobody says" where that is possible."""

    confidence: Share | None = None
    retry_count: Count = 0
    anomaly_score: Share = Decimal(0)
    first_time_action: bool = False
    affected_users: Count | None = None


class ActionSpec(SignalsSpec):
    """A whole action file; signals stand in `signals` or beside it, not in both."""

    topic: Any
    args: dict[str, Any] | None = None
    risk_tags: Annotated[tuple[Tag, ...], Field(strict=False)] | None = None
    tier: TierNumber | None = None
    signals: SignalsSpec = SignalsSpec()
    amount_usd: Any = None


def read_question(text: bytes, policy: Policy) -> tuple[Question, list[str]]:
    """The question an action file asks of `policy`, and every assumption as a sentence.

    Raises:
        InvalidInput: (a subclass) it is not JSON, or holds something unknown, contradictory or wrongly typed.
    """
    spec = _spec(parse_json(text))
    topic = parse_topic(spec.topic)
    entry = policy.entry(topic)
    signals, said = _signals(spec)
    tags = None if spec.risk_tags is None else frozenset(spec.risk_tags)
    question = Question(
        topic,
        _args(spec, topic, entry, policy),
        signals,
        tags,
        None if spec.tier is None else Tier(spec.tier),
    )
    return question, [*_about_topic(spec, topic, entry, policy), *_about_args(spec), *said]


def _spec(data: Any) -> ActionSpec:
    if not isinstance(data, dict):
        raise WrongType("expected an object with a topic")
    try:
        return ActionSpec.model_validate(data)
    except ValidationError as error:
        raise _problem(error.errors(include_url=False)[0]) from None


_EXPECTED = {
    "dict_type": "an object",
    "model_type": "an object",
    "tuple_type": "an array",
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "bool_type": "true or false",
    "string_pattern_mismatch": "a tag of a-z, 0-9, - and _",
}


def _problem(found: Any) -> InvalidInput:
    """The first thing pydantic found, as our own error with the path to it."""
    *parents, name = found["loc"]
    path = "$" + "".join(map(_step, parents))
    if found["type"] == "extra_forbidden":
        known = SignalsSpec.model_fields if parents else ActionSpec.model_fields
        guess = nearest(str(name), known)
        hint = f"; did you mean {guess!r}?" if guess else ""
        return UnknownField(f"{name!r} is not known here{hint}", path=path)
    if found["type"] == "missing":
        return MissingField(f"{name!r} was not given", path=path)
    expected = _EXPECTED.get(found["type"])
    message = str(found["msg"]).replace("Input should be", "expected a value")
    return WrongType(f"expected {expected}" if expected else message, path=path + _step(name))


def _step(step: str | int) -> str:
    return f"[{step}]" if isinstance(step, int) else f".{step}"


# --- arguments --------------------------------------------------------------------------------------------


def _args(spec: ActionSpec, topic: str, entry: CatalogueEntry | None, policy: Policy) -> dict[str, Json]:
    """The arguments in canonical form; where the file gives none, at most the amount."""
    if spec.amount_usd is None:
        return {} if spec.args is None else policy.check_args(topic, spec.args)
    amount = decimal_of(spec.amount_usd, "$.amount_usd")
    if amount < 0:
        raise NumberOutOfRange("an amount is not negative", path="$.amount_usd")
    name = "amount_usd" if entry is None else entry.roles.get("amount", "amount_usd")
    if spec.args is not None:
        stated = spec.args.get(name, spec.amount_usd)
        if decimal_of(stated, f"$.args.{name}") != amount:
            raise InvalidInput(f"it is not what $.args.{name} says", path="$.amount_usd", fix="Keep one.")
    declared = None if entry is None or entry.args is None else entry.args.get(name)
    if entry is not None and "amount" in entry.roles and (declared is None or declared.currency != "USD"):
        raise InvalidInput(f"the amount of {topic} is not in US dollars", path="$.amount_usd")
    if spec.args is not None or entry is None or entry.args is None:
        return policy.check_args(topic, {name: spec.amount_usd, **(spec.args or {})})
    if declared is None:
        raise InvalidInput(f"{topic} takes no amount", path="$.amount_usd")
    return {name: declared.check(spec.amount_usd, "$.amount_usd")}


def _about_args(spec: ActionSpec) -> list[str]:
    if spec.args is not None:
        return []
    but = "" if spec.amount_usd is None else ", but for the amount"
    return [f"args were not given{but}: conditions on arguments are unknown"]


# --- topic, tier and tags ---------------------------------------------------------------------------------


def _about_topic(spec: ActionSpec, topic: str, entry: CatalogueEntry | None, policy: Policy) -> list[str]:
    said = []
    if entry is not None:
        if spec.tier is not None:
            said.append(f"tier {spec.tier} was given and is not used: the catalogue's tier counts")
        if spec.risk_tags is not None:
            own = ", ".join(entry.risk_tags) or "none"
            said.append(f"risk_tags were given and are not used: the catalogue's count ({own})")
        return said
    if not policy.knows(topic):
        guess = policy.suggest(topic)
        said.append(
            "trusted code registers this topic, which no catalogue entry or rule names"
            + (f" (did you mean {guess}?)" if guess else "")
            + "; from an agent's key alone it is refused"
        )
    said.append(
        "the topic is not in the catalogue and has no tier"
        if spec.tier is None
        else f"tier {spec.tier}, as given, stands for a catalogue entry"
    )
    said.append(
        "risk_tags were not given: conditions on tags are unknown"
        if spec.risk_tags is None
        else f"risk_tags {', '.join(spec.risk_tags) or 'none'}, as given, from the trusted registration"
    )
    return said


# --- signals ----------------------------------------------------------------------------------------------


def _signals(spec: ActionSpec) -> tuple[Signals, list[str]]:
    """The signals, and what is assumed about them."""
    names = tuple(SignalsSpec.model_fields)
    flat, inside = spec.model_fields_set & set(names), spec.signals.model_fields_set
    twice = sorted(flat & inside)
    if twice:
        raise InvalidInput("it stands in $.signals as well", path=f"$.{twice[0]}", fix="Keep one.")
    found = {name: getattr(spec.signals if name in inside else spec, name) for name in names}
    observed = [name for name in names if name != "confidence"]
    said = [f"{name} {_word(found[name])}, as given" for name in observed if name in flat | inside]
    rest = [f"{name} {_word(found[name])}" for name in observed if name not in flat | inside]
    if rest:
        said.append(f"observed signals not given are at their baseline: {', '.join(rest)}")
    said.append(
        "the agent reported no confidence, which counts as its worst"
        if found["confidence"] is None
        else f"the agent reported confidence {found['confidence']}"
    )
    return Signals(**found), said


def _word(value: Any) -> str:
    if value is None:
        return "unknown"
    return str(value).lower()
