"""An action file: the question an author asks of a policy, and what is assumed for the rest.

1. The file is strict JSON. A key that is not known is an error with what was probably meant. Tests of a
   policy state actions with the same keys in YAML.
2. An author may assume what only trusted code or the catalogue says in a live system: risk tags, a tier, an
   autonomy level, facts, provenance, a kill switch, observed signals. Each assumption is said, and so is each
   that has no effect: on a catalogued topic the catalogue's tier and tags count, whatever the file says.
3. What is not given: arguments, tags and facts are unknown, observed signals are at their baseline,
   confidence was not reported, nothing is stopped, and the agent is at the lowest level the policy declares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from interlock.model.actions import Signals
from interlock.model.canonical import Json, parse_json, plain
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
from interlock.policy.document import ArgName, Count, Sentiment, Share, Spec, Tag, TierNumber
from interlock.policy.findings import nearest

LevelNumber = Annotated[int, Field(ge=0, le=9)]
Source = Literal["user", "known", "record", "untrusted", "unseen"]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class SignalsSpec(Spec):
    """Signals as a file gives them. Null stands for "nobody says" where that is possible."""

    confidence: Share | None = None
    retry_count: Count = 0
    anomaly_score: Share = Decimal(0)
    first_time_action: bool = False
    affected_users: Count | None = None
    first_time_recipient: bool = False
    sentiment: Sentiment = Decimal(0)
    injection_score: Share = Decimal(0)
    deadline_sec: Count | None = None
    duplicate_of: Name | None = None


class Asked(SignalsSpec):
    """A whole action file; signals stand in `signals` or beside it, not in both."""

    topic: Any
    args: dict[str, Any] | None = None
    risk_tags: Annotated[tuple[Tag, ...], Field(strict=False)] | None = None
    tier: TierNumber | None = None
    level: LevelNumber | None = None
    facts: dict[ArgName, Any] | None = None
    provenance: dict[ArgName, Source] | None = None
    stopped: Name | None = None
    signals: SignalsSpec = SignalsSpec()
    amount_usd: Any = None


def read_question(text: bytes, policy: Policy) -> tuple[Question, list[str]]:
    """The question an action file asks of `policy`, and every assumption as a sentence.

    Raises:
        InvalidInput: (a subclass) it is not JSON, or holds something unknown, contradictory or wrongly typed.
    """
    asked = asked_from(parse_json(text))
    return question_of(asked, policy), assumptions_of(asked, policy)


A = TypeVar("A", bound=Asked)


def asked_from(data: Any) -> Asked:
    """An action file's content, checked but for what depends on a policy. Raises `InvalidInput`."""
    return read_as(Asked, data)


def read_as(model: type[A], data: Any) -> A:
    """As `asked_from`, for an action file with more keys."""
    if not isinstance(data, dict):
        raise WrongType("expected an object with a topic")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _refused(mistakes(error, model)[0]) from None


def question_of(asked: Asked, policy: Policy) -> Question:
    """What is asked of `policy`.

    Raises:
        InvalidInput: (a subclass) with the path to the topic, the argument or the signal.
    """
    topic = parse_topic(asked.topic)
    entry = policy.entry(topic)
    return Question(
        topic,
        _args(asked, topic, entry, policy),
        _signals(asked),
        None if asked.risk_tags is None else frozenset(asked.risk_tags),
        None if asked.tier is None else Tier(asked.tier),
        level=asked.level,
        facts={name: plain(value, f"$.facts.{name}") for name, value in (asked.facts or {}).items()},
        provenance=dict(asked.provenance or {}),
        stopped=asked.stopped,
    )


# --- what is wrong with a file ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing pydantic found. `path` leads to the key or value; `about_key` says which of them it is."""

    path: tuple[str | int, ...]
    kind: Literal["unknown", "missing", "wrong"]
    message: str
    suggestion: str | None = None

    @property
    def about_key(self) -> bool:
        return self.kind == "unknown"


_EMPTY = "an empty list; name at least one"
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


def mistakes(error: ValidationError, model: type[Spec]) -> list[Mistake]:
    """What pydantic found, in words for the author of the file."""
    found = [_mistake(problem, model) for problem in error.errors(include_url=False)]
    # A list whose items are wrong is reported as too short as well.
    within = {mistake.path[:length] for mistake in found for length in range(len(mistake.path))}
    return [mistake for mistake in found if mistake.message != _EMPTY or mistake.path not in within]


def _mistake(found: Any, model: type[Spec]) -> Mistake:
    path = tuple(step for step in found["loc"] if step != "[key]")
    name = str(path[-1]) if path else ""
    if found["type"] == "extra_forbidden":
        return Mistake(path, "unknown", f"{name!r} is not known here", nearest(name, _keys(path[:-1], model)))
    if found["type"] == "missing":
        return Mistake(path, "missing", f"{name!r} was not given")
    if found["type"] == "literal_error":
        return Mistake(path, "wrong", f"expected one of {found['ctx']['expected']}")
    if found["type"] == "too_short":
        return Mistake(path, "wrong", _EMPTY)
    expected = _EXPECTED.get(found["type"])
    message = str(found["msg"]).replace("Input should be", "expected a value")
    return Mistake(path, "wrong", f"expected {expected}" if expected else message)


def _keys(path: Iterable[str | int], model: type[Spec]) -> Iterable[str]:
    """The keys that the model at a path knows; none where it is no model of ours."""
    for step in path:
        field = model.model_fields.get(str(step))
        if isinstance(step, int):
            continue
        inner = None if field is None else _model(field.annotation)
        if inner is None:
            return ()
        model = inner
    return model.model_fields


def _model(annotation: Any) -> type[Spec] | None:
    """The model an annotation speaks of, through lists and optional values."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return annotation
    found = (_model(inner) for inner in getattr(annotation, "__args__", ()))
    return next((inner for inner in found if inner is not None), None)


def _refused(mistake: Mistake) -> InvalidInput:
    """A mistake in a JSON file as our own error with the path to it."""
    inside = "$" + "".join(map(_step, mistake.path[:-1]))
    hint = f"; did you mean {mistake.suggestion!r}?" if mistake.suggestion else ""
    if mistake.kind == "unknown":
        return UnknownField(mistake.message + hint, path=inside)
    if mistake.kind == "missing":
        return MissingField(mistake.message, path=inside)
    return WrongType(mistake.message, path="$" + "".join(map(_step, mistake.path)))


def _step(step: str | int) -> str:
    return f"[{step}]" if isinstance(step, int) else f".{step}"


# --- arguments --------------------------------------------------------------------------------------------


def _args(asked: Asked, topic: str, entry: CatalogueEntry | None, policy: Policy) -> dict[str, Json]:
    """The arguments in canonical form; where the file gives none, at most the amount."""
    if asked.amount_usd is None:
        return {} if asked.args is None else policy.check_args(topic, asked.args)
    amount = decimal_of(asked.amount_usd, "$.amount_usd")
    if amount < 0:
        raise NumberOutOfRange("an amount is not negative", path="$.amount_usd")
    name = "amount_usd" if entry is None else entry.roles.get("amount", "amount_usd")
    if asked.args is not None:
        stated = asked.args.get(name, asked.amount_usd)
        if decimal_of(stated, f"$.args.{name}") != amount:
            raise InvalidInput(f"it is not what $.args.{name} says", path="$.amount_usd", fix="Keep one.")
    declared = None if entry is None or entry.args is None else entry.args.get(name)
    if entry is not None and "amount" in entry.roles and (declared is None or declared.currency != "USD"):
        raise InvalidInput(f"the amount of {topic} is not in US dollars", path="$.amount_usd")
    if asked.args is not None or entry is None or entry.args is None:
        return policy.check_args(topic, {name: asked.amount_usd, **(asked.args or {})})
    if declared is None:
        raise InvalidInput(f"{topic} takes no amount", path="$.amount_usd")
    return {name: declared.check(asked.amount_usd, "$.amount_usd")}


# --- signals ----------------------------------------------------------------------------------------------

_NAMES = tuple(SignalsSpec.model_fields)


def _stated(asked: Asked) -> Mapping[str, Any]:
    """The signals the file gives, flat or in `signals`. Raises `InvalidInput` for one that stands in both."""
    flat, inside = asked.model_fields_set & set(_NAMES), asked.signals.model_fields_set
    twice = sorted(flat & inside)
    if twice:
        raise InvalidInput("it stands in $.signals as well", path=f"$.{twice[0]}", fix="Keep one.")
    return {
        name: getattr(asked.signals if name in inside else asked, name)
        for name in _NAMES
        if name in flat | inside
    }


def _signals(asked: Asked) -> Signals:
    return Signals(**_stated(asked))


# --- what is assumed --------------------------------------------------------------------------------------


def assumptions_of(asked: Asked, policy: Policy) -> list[str]:
    """Every assumption behind the question as a sentence; the file has been read with `question_of`."""
    topic = str(asked.topic)
    return [
        *unused_of(asked, policy),
        *_about_topic(asked, topic, policy.entry(topic), policy),
        *_about_args(asked),
        *_about_the_world(asked, policy),
        *_about_signals(asked),
    ]


def unused_of(asked: Asked, policy: Policy) -> list[str]:
    """What the file gives without effect, each as a sentence; it has been read with `question_of`."""
    said = []
    entry = policy.entry(str(asked.topic))
    if entry is not None and asked.tier is not None:
        said.append(f"tier {asked.tier} was given and is not used: the catalogue's tier counts")
    if entry is not None and asked.risk_tags is not None:
        own = ", ".join(entry.risk_tags) or "none"
        said.append(f"risk_tags were given and are not used: the catalogue's count ({own})")
    if asked.level is not None and not _declares(policy, asked.level):
        rest = "the lowest counts" if policy.levels else "it declares none"
        said.append(f"level {asked.level} was given and is not one of the policy's: {rest}")
    for name in sorted((asked.facts or {}).keys() - policy.document.facts.keys()):
        said.append(f"facts.{name} was given and is not used: the policy declares no such fact")
    return said


def _declares(policy: Policy, number: int) -> bool:
    return any(level.number == number for level in policy.levels)


def _about_topic(asked: Asked, topic: str, entry: CatalogueEntry | None, policy: Policy) -> list[str]:
    said: list[str] = []
    if entry is not None:
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
        if asked.tier is None
        else f"tier {asked.tier}, as given, stands for a catalogue entry"
    )
    said.append(
        "risk_tags were not given: conditions on tags are unknown"
        if asked.risk_tags is None
        else f"risk_tags {', '.join(asked.risk_tags) or 'none'}, as given, from the trusted registration"
    )
    return said


def _about_args(asked: Asked) -> list[str]:
    if asked.args is not None:
        return []
    but = "" if asked.amount_usd is None else ", but for the amount"
    return [f"args were not given{but}: conditions on arguments are unknown"]


def _about_the_world(asked: Asked, policy: Policy) -> list[str]:
    said = []
    if asked.level is not None and _declares(policy, asked.level):
        said.append(f"the agent is at autonomy level {asked.level}, as given")
    for name, value in sorted((asked.facts or {}).items()):
        if name in policy.document.facts:
            said.append(f"facts.{name} {_word(value)}, as given")
    for name, source in sorted((asked.provenance or {}).items()):
        said.append(f"provenance.{name} {source}, as given")
    if asked.stopped is not None:
        said.append(f"the kill switch {asked.stopped} covers this action, as given")
    return said


def _about_signals(asked: Asked) -> list[str]:
    stated = _stated(asked)
    observed = [name for name in _NAMES if name != "confidence"]
    said = [f"{name} {_word(stated[name])}, as given" for name in observed if name in stated]
    rest = [f"{name} {_word(getattr(asked, name))}" for name in observed if name not in stated]
    if rest:
        said.append(f"observed signals not given are at their baseline: {', '.join(rest)}")
    said.append(
        "the agent reported no confidence, which counts as its worst"
        if stated.get("confidence") is None
        else f"the agent reported confidence {stated['confidence']}"
    )
    return said


def _word(value: Any) -> str:
    if value is None:
        return "unknown"
    return str(value).lower() if isinstance(value, bool) else str(value)
