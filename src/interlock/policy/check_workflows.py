"""Checking workflows: that steps lead to steps, in no circle, and say what their type needs."""

from __future__ import annotations

from interlock.policy.checking import Report, around, cycles
from interlock.policy.findings import Path
from interlock.policy.later import StepSpec, WorkflowSpec

_ROOTS = frozenset({"result"})
_BELONGS = {
    "topic": ("action",),
    "constraints": ("action",),
    "branches": ("condition",),
    "timeout_sec": ("action", "approval"),
    "on_timeout": ("approval",),
}
"""Which types of step may say what."""


def check_workflows(report: Report) -> None:
    """Everything about workflows."""
    for name, workflow in sorted(report.document.workflows.items()):
        for step_name, step in sorted(workflow.steps.items()):
            path: Path = ("workflows", name, "steps", step_name)
            _belongs(report, path, step)
            _leads(report, path, step, workflow)
            _needs(report, path, step, f"step {step_name} of workflow {name}")
        depends = {step_name: list(step.depends_on or ()) for step_name, step in workflow.steps.items()}
        for cycle in cycles(depends):
            at: Path = ("workflows", name, "steps", cycle[0], "depends_on")
            report.add(at, f"steps wait for each other in a circle: {around(cycle)}")


def _belongs(report: Report, path: Path, step: StepSpec) -> None:
    for key, types in _BELONGS.items():
        if getattr(step, key) is not None and step.type not in types:
            report.add((*path, key), f"it belongs to an {' or '.join(types)} step", key=True)


def _leads(report: Report, path: Path, step: StepSpec, workflow: WorkflowSpec) -> None:
    named = [((*path, "depends_on", index), other) for index, other in enumerate(step.depends_on or ())]
    named += [
        ((*path, "branches", branch, "next"), spec.next) for branch, spec in (step.branches or {}).items()
    ]
    for at, other in named:
        if other not in workflow.steps:
            report.add(at, f"there is no step {other!r}", report.meant(other, workflow.steps))


def _needs(report: Report, path: Path, step: StepSpec, whose: str) -> None:
    if step.type == "action":
        if step.topic is None:
            report.add(path, "an action step says its topic")
    elif step.type == "condition":
        if step.branches is None:
            report.add(path, "a condition step says its branches")
        for branch, spec in sorted((step.branches or {}).items()):
            at: Path = (*path, "branches", branch, "when")
            report.condition(at, spec.when, whose=whose, roots=_ROOTS)
    elif step.on_timeout == "allow":
        report.add((*path, "on_timeout"), "silence approves nothing; use escalate or deny")
    elif step.timeout_sec is None or step.on_timeout is None:
        report.warn(f"{whose}: an approval without timeout_sec and on_timeout can wait for ever")
