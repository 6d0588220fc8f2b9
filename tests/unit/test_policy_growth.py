"""Checking grows with the text of a policy, not with its rules times its entries: counted, not timed."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import interlock.policy
from interlock.policy.check import check
from interlock.policy.findings import Finding
from interlock.policy.merge import merge
from interlock.policy.source import read
from interlock.policy.structure import document_of

CODE = str(Path(interlock.policy.__file__).parent)


def _sweeping(catalogue: str, rules: str) -> str:
    return f"actions:\n{catalogue}rules:\n{rules}"


def _deny(body: str) -> str:
    return f"  - {{{body}, decision: deny}}\n"


GROWING: dict[str, Callable[[int], str]] = {
    "limits": lambda n: _sweeping(
        "".join(f"  a.t{i}: {{tier: 1}}\n" for i in range(n)),
        "  - {match: {topics: ['a.*']}, decision: allow, constraints: {max_runtime_sec: 5}}\n" * n,
    ),
    "conditions": lambda n: _sweeping(
        "".join(f"  a.t{i}: {{tier: 1, args: {{x: integer, y{i}: string}}}}\n" for i in range(n)),
        "".join(_deny(f"match: {{topics: ['a.*']}}, when: args.x > {i}") for i in range(n)),
    ),
    "kinds": lambda n: _sweeping(
        "".join(
            f"  a.t{i}: {{tier: 1, args: {{{', '.join(f'x{j}: {kind}' for j, kind in enumerate(kinds))}}}}}\n"
            for i, kinds in enumerate(itertools.islice(itertools.product(*[("string", "integer")] * 8), n))
        ),
        _deny(f"match: {{topics: ['a.*']}}, when: {' && '.join(f'has(args.x{j})' for j in range(8))}") * n,
    ),
    "patterns": lambda n: _sweeping(
        "".join(f"  a{i}.b{i}.c: {{tier: 1, risk_tags: [t{i}, u]}}\n" for i in range(n)),
        "".join(
            _deny(f"match: {{topics: ['*.b{i}.*', '**'], risk_tags: [t{i}]}}, locked: true") for i in range(n)
        ),
    ),
    "silence": lambda n: _sweeping(
        "  'a.*': {tier: 1}\n" + "".join(f"  a.t{i}: {{tier: 1}}\n" for i in range(n)),
        "  - {match: {topics: ['a.*']}, decision: require_approval, lane: {window: 5m, on_timeout: allow}}\n"
        * n,
    ),
    "shadows": lambda n: _sweeping(
        "".join(f"  '*.*.s{i}.**': {{tier: 3, risk_tags: [delete]}}\n" for i in range(n // 2))
        + "".join(f"  a.*.*.t{i}: {{tier: 1}}\n" for i in range(n // 2)),
        "".join(_deny(f"match: {{topics: [a.b.s{i}.t{i}]}}") for i in range(n)),
    ),
    "mistakes": lambda n: _sweeping(
        "".join(f"  a.t{i}: {{tier: 1, args: {{x: integer}}}}\n" for i in range(n)),
        _deny("match: {topics: ['a.*']}, when: args.y > 1") * n,
    ),
}


@pytest.mark.parametrize("shape", GROWING)
def test_checking_takes_work_in_proportion_to_a_policy_even_where_rules_sweep(shape: str) -> None:
    small, large = (_lines_run(GROWING[shape](n)) for n in (40, 240))
    assert large < 9 * small  # six times the text; comparing each with each runs 36 times the lines


def _lines_run(text: str) -> int:
    """How many lines of the checks run for a policy: the same number each time, on every machine."""
    findings: list[Finding] = []
    tree = read("policy.yaml", "interlock: 1\n" + text, findings)
    assert tree is not None
    data, places = merge([tree], findings)
    partial = document_of(data, places, findings)
    assert partial is not None
    assert findings == []
    count = 0

    def line(_frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal count
        count += event == "line"
        return line

    def called(frame: FrameType, _event: str, _arg: object) -> Any:
        return line if frame.f_code.co_filename.startswith(CODE) else None

    before = sys.gettrace()
    sys.settrace(called)
    try:
        check(partial.document, places)
    finally:
        sys.settrace(before)
    return count
