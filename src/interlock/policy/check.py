"""Checking: what the parts of a document mean to each other.

1. A name in a template, a role, a condition, a lane or an override stands for something that is declared, of
   the right type (`check_actions`, `check_rules`).
2. What stands on paper only is an error where that is certain, else a warning; what an agent reports may only
   tighten; silence approves nothing that matters (`check_rules`).
3. What loosens a default is named (`check_sections`), and so is what guards less than it seems to: an entry
   in the place of a stricter one (`check_shadows`), a tag that no guard reads (`check_tags`). A workflow
   leads somewhere (`check_workflows`).
4. Warnings name what loads although somebody should look at it, what loosens first. Their order does not
   depend on where things stand: equal snapshots have equal warnings.
5. No check compares every rule with every entry: all of it takes time in proportion to the policy, give or
   take what integers of many bits take (`reach`).
"""

from __future__ import annotations

from contextlib import suppress

from interlock.policy.check_actions import check_actions
from interlock.policy.check_rules import check_levels, check_rules
from interlock.policy.check_sections import check_defaults, check_sections
from interlock.policy.check_shadows import check_shadows
from interlock.policy.check_tags import Tags, check_tags
from interlock.policy.check_workflows import check_workflows
from interlock.policy.checking import Enough, Report
from interlock.policy.compiling import compile_entry
from interlock.policy.document import Document
from interlock.policy.findings import Finding, Path, Places
from interlock.policy.reach import Reach


def check(
    document: Document, places: Places, missing: frozenset[Path] = frozenset()
) -> tuple[list[Finding], list[str]]:
    """Everything that is wrong, and everything worth a warning.

    Args:
        missing: what `structure` left out of the document.
    """
    report = Report(document, places, missing)
    reach = Reach(  # conditions are compiled once it is certain that they can be
        compile_entry(key, spec.model_copy(update={"raise_to": None}))
        for key, spec in sorted(document.actions.items())
    )
    tags = Tags(document, reach)
    with suppress(Enough):
        check_defaults(report)
        check_shadows(report, reach, tags)
        check_tags(report, tags)
        check_actions(report, reach)
        check_rules(report, reach)
        check_levels(report, reach)
        check_workflows(report)
        check_sections(report)
    return report.findings, report.warnings
