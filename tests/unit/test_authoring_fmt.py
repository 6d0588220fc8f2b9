"""Formatting: conditions in canonical form, everything else where it was, and the same decisions."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conditions_at_random import Maker, spell
from interlock.authoring import fmt
from interlock.authoring.fmt import Formatted, format_policy
from interlock.model.errors import PolicyError
from interlock.policy import Question, parse
from interlock.policy.expressions import parse_expression
from interlock.policy.source import read

ROOT = Path(__file__).parents[2]
POLICY = """\
# Überschrift — 𝄞
interlock: 1   
name: "é𝄞"        # said

actions:
  a.b:
    tier: 3
    raise_to: [{tier: 4, when: args.n >= 5 AND args.n != 7}]   # in flow
    args: {n: integer, m: string}
    summary: |
      one   
      two

rules:

  # why this rule
  - id: r1
    match: {topics: [a.b]}
    when:   args.n<5 AND NOT (args.m == 'x' OR args.m=="y")   # because
    decision: allow
  - {id: r2, when: '"prod" in tags', decision: deny}
  - id: r3
    decision: deny
    when: >-   # over several lines
      args.n < 5 AND
      args.m != "a rather long text that stands here" AND
      signals.retry_count > 2 AND signals.anomaly_score > 0.5

      AND args.n != 6
    reason: No
"""  # noqa: W291
AFTER = """\
# Überschrift — 𝄞
interlock: 1
name: "é𝄞"        # said

actions:
  a.b:
    tier: 3
    raise_to: [{tier: 4, when: args.n >= 5 && args.n != 7}]   # in flow
    args: {n: integer, m: string}
    summary: |
      one   
      two

rules:

  # why this rule
  - id: r1
    match: {topics: [a.b]}
    when:   args.n < 5 && !(args.m == "x" || args.m == "y")   # because
    decision: allow
  - {id: r2, when: '"prod" in tags', decision: deny}
  - id: r3
    decision: deny
    when: >-  # over several lines
      args.n < 5
      && args.m != "a rather long text that stands here"
      && signals.retry_count > 2
      && signals.anomaly_score > 0.5
      && args.n != 6
    reason: No
"""  # noqa: W291


def formatted(text: str, file: str = "p.yaml") -> str:
    return format_policy(file, text).text


def data(text: str, file: str = "p.yaml") -> Any:
    findings: list[Any] = []
    tree = read(file, text, findings)
    assert tree is not None, findings
    assert findings == []
    return tree.data


def rule(when: str) -> str:
    """A rule with this spelling of a condition, and something on each side of it."""
    return f"rules:\n  - id: a   # x\n    when: {when}\n    decision: deny   \n# end"


def test_conditions_are_rewritten_and_nothing_else_moves() -> None:
    assert formatted(POLICY) == AFTER
    assert [change.after for change in format_policy("p.yaml", POLICY).changes] == [
        "args.n >= 5 && args.n != 7",
        'args.n < 5 && !(args.m == "x" || args.m == "y")',
        'args.n < 5 && args.m != "a rather long text that stands here" && signals.retry_count > 2 '
        "&& signals.anomaly_score > 0.5 && args.n != 6",
    ]


def test_what_is_formatted_stays_as_it_is() -> None:
    assert format_policy("p.yaml", AFTER) == Formatted(AFTER, ())


def test_a_policy_decides_alike_before_and_after() -> None:
    before, after = parse({"p.yaml": POLICY}), parse({"p.yaml": AFTER})
    for n in (None, 4, 5, 6, 7):
        for m in ("x", "z"):
            question = Question("a.b", {"m": m} if n is None else {"m": m, "n": n})
            one, other = before.decide(question), after.decide(question)
            assert (one.decision, one.rule, one.tier, one.matched) == (
                other.decision,
                other.rule,
                other.tier,
                other.matched,
            )


@pytest.mark.parametrize(
    ("when", "after"),
    [
        ("args.a==1", "args.a == 1"),
        ("'args.a==1'", "'args.a == 1'"),
        ('"args.a==1"', '"args.a == 1"'),
        ("NOT args.a", '"!args.a"'),
        ("'NOT args.a'", "'!args.a'"),
        ("args.a == 'it' AND args.b", 'args.a == "it" && args.b'),
        ("'args.a == ''it'''", "'args.a == \"it\"'"),
        ("\"args.a == 'x'\"", '"args.a == \\"x\\""'),
        ("args.a in ['x']", 'args.a in ["x"]'),
        ("'\"x\" in tags'", "'\"x\" in tags'"),
        ("'\"true\" in tags AND true'", "'\"true\" in tags && true'"),
        ("'true'", "'true'"),
        (">-\n      args.a == 'x: y'", "'args.a == \"x: y\"'"),
        ("args.a == 'é𝄞' AND args.b", 'args.a == "é𝄞" && args.b'),
        ("|\n      args.a AND\n      args.b", "args.a && args.b"),
        (">\n      args.a\n\n      AND args.b\n", "args.a && args.b\n"),
        ("args.a\n      AND args.b", "args.a && args.b"),
        ("'args.a\n\n      AND args.b'", "'args.a && args.b'"),
    ],
)
def test_a_condition_keeps_its_quotes_where_they_fit(when: str, after: str) -> None:
    expected = rule(after).replace("deny   ", "deny") + "\n"
    assert formatted(rule(when)) == expected
    assert formatted(expected) == expected


def test_lines_that_are_canonical_but_for_blanks_are_kept() -> None:
    text = """rules:
  - id: a
    when: >-   # why
      args.argv in [
      "git status",
      "git  diff"
      ]

      || args.force
    decision: deny
"""
    assert format_policy("p.yaml", text) == Formatted(text, ())
    assert "OR" not in formatted(text.replace("||", "OR"))
    assert "|| args" in formatted(text.replace("|| args", "||args"))


def test_long_parts_are_broken_between_words_and_never_inside_a_text() -> None:
    words = ", ".join(f"'say  {n}'" for n in range(40))
    text = rule(f">-\n      args.a in [{words}] AND\n      NOT args.b")
    once = formatted(text)
    assert max(map(len, once.splitlines())) <= 110
    assert data(once)["rules"][0]["when"] == f"args.a in [{words}] && !args.b".replace("'", '"')
    assert formatted(once) == once


def test_conditions_stand_in_rules_tiers_levels_and_branches_only() -> None:
    text = """
autonomy_levels: {level_0: {rules: [{when: args.a==1, decision: deny}]}}
workflows: {w: {steps: {s: {branches: {yes: {when: result.a==1 AND true}}}}}}
name: args.a==1
facts: {when: args.a==1}
"""
    assert formatted(text) == text.replace("args.a==1, d", "args.a == 1, d").replace(
        "result.a==1 AND", "result.a == 1 &&"
    )


def test_json_stays_json() -> None:
    text = '{"rules": [{"id": "é𝄞", "when": "args.a == \\"x\\" AND args.b"   ,"decision": "deny"}]}'
    assert formatted(text, "p.json") == text.replace(" AND ", " && ") + "\n"


def test_windows_line_ends_become_plain_ones() -> None:
    assert formatted(POLICY.replace("\n", "\r\n")) == AFTER


def test_text_of_several_lines_keeps_its_blanks() -> None:
    for text in (
        "name: |+\n  a   \n\n\n",
        "name: |\n  a  \n   b",
        'name: "a   \n  b\\   \n  c"\n',
        "name: a\n  b   \n  c\n",
    ):
        assert data(formatted(text)) == data(text)
        assert formatted(formatted(text)) == formatted(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("a: [", "not YAML"),
        (
            "rules:\n  - {when: args.a and args.b, decision: deny}\n",
            "p.yaml:2:12: 'and' does not belong here",
        ),
        ("rules:\n  - {when: args.a =, decision: deny}\n", "p.yaml:2:12"),
    ],
)
def test_what_cannot_be_read_is_an_error_at_its_line(text: str, said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        format_policy("p.yaml", text)


def test_a_text_that_would_say_something_else_is_never_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fmt, "show", lambda expr: "true || true")
    text = rule("args.a")
    assert data(formatted(text))["rules"][0]["when"] == "true || true"
    monkeypatch.setattr(fmt, "_tidied", lambda file, text: text.replace("deny", "allow"))
    with pytest.raises(PolicyError, match="would change what it says"):
        format_policy("p.yaml", text)


@pytest.mark.parametrize("value", ["true", "false", "7", "[args.a AND args.b]", "{a: b}"])
def test_what_is_no_text_does_not_become_a_condition(value: str) -> None:
    text = rule(value)
    with pytest.raises(PolicyError):
        parse({"p.yaml": f"interlock: 1\n{text}"})
    once = format_policy("p.yaml", text)
    assert once.changes == ()
    assert data(once.text) == data(text)
    assert f"when: {value}" in once.text
    with pytest.raises(PolicyError):
        parse({"p.yaml": f"interlock: 1\n{once.text}"})
    held = '{"rules": [{"id": "a", "when": true, "decision": "allow"}]}\n'
    assert formatted(held, "p.json") == held


OURS = sorted(ROOT.glob("policies/*/*.yaml")) + sorted(ROOT.glob("src/interlock/**/*.yaml"))


@pytest.mark.parametrize("file", OURS, ids=lambda file: str(file.relative_to(ROOT)))
def test_our_own_policies_are_formatted(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert format_policy(str(file), text) == Formatted(text, ())


SCALARS = st.sampled_from(["plain", "single", "double", "folded", "literal"])


@given(st.integers(0, 10**6), SCALARS, st.booleans(), st.text("ab #:-'\"\\né𝄞 ", max_size=12))
@example(1, "folded", False, " # x")
@settings(max_examples=150)
def test_any_spelling_of_any_condition_is_formatted_once(
    seed: int, style: str, flow: bool, comment: str
) -> None:
    random = Random(seed)
    text = spell(Maker(random).expression(random.choice((1, 2, 3))), random, capitals=True)
    held: Any = {"id": "x", "when": text, "decision": "deny"}
    marks = {"single": "'", "double": '"', "folded": ">", "literal": "|"}
    dumped = yaml.safe_dump(
        {"rules": [held]},
        allow_unicode=True,
        sort_keys=False,
        default_flow_style=flow,
        default_style=marks.get(style),  # type: ignore[arg-type]
        width=random.choice((20, 60, 200)),
    )
    said = "".join(letter for letter in comment if letter != "\n")
    document = f"# {said}\n{dumped}# {said}   \n"
    findings: list[Any] = []
    if read("p.yaml", document, findings) is None or findings:
        return
    once = format_policy("p.yaml", document)
    assert format_policy("p.yaml", once.text) == Formatted(once.text, ())
    assert once.text.startswith(f"# {said}".rstrip())
    assert once.text.rstrip().endswith(f"# {said}".rstrip())
    before, after = data(document), data(once.text)
    assert parse_expression(after["rules"][0].pop("when")) == parse_expression(text)
    before["rules"][0].pop("when")
    assert before == after
