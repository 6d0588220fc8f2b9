"""What every drafted policy has to be: it loads, and its own tests pass."""

from __future__ import annotations

from interlock.authoring import read_cases, run_cases
from interlock.authoring.draft import Draft, write_cases, write_policy
from interlock.policy import Policy, parse


def sound(draft: Draft) -> Policy:
    """The drafted policy, once it has loaded and all of its tests have passed."""
    text = write_policy(draft)
    policy = parse({"draft.yaml": text})
    if draft.cases:
        results = list(run_cases(read_cases({"draft.test.yaml": write_cases(draft)}), policy))
        assert [(result.case.name, result.differences) for result in results if not result.ok] == [], text
        assert len(results) == len(draft.cases)
    return policy
