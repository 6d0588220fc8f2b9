"""Loading: files to one document to one policy, with every finding at its line.

1. Files are read (`source`), merged (`merge`), typed (`structure`) and checked (`check`). A policy loads
   completely or not at all.
2. What cannot be read at all ends loading; everything else is collected, so that misspelt keys and
   contradictions between rules are reported together.
"""

from __future__ import annotations

from collections.abc import Mapping

from interlock.policy.check import check
from interlock.policy.collecting import collector_waits
from interlock.policy.decide import Policy
from interlock.policy.findings import Finding, Place, raise_for
from interlock.policy.merge import merge
from interlock.policy.source import MAX_TEXT, read
from interlock.policy.structure import document_of


def parse(sources: Mapping[str, str]) -> Policy:
    """The policy that some files state together.

    Args:
        sources: from file name to text: JSON where the name ends in ``.json``, else YAML.

    Raises:
        PolicyError: with every finding; `extra["findings"]` holds them as JSON.
    """
    with collector_waits():
        return _parse(sources)


def _parse(sources: Mapping[str, str]) -> Policy:
    findings: list[Finding] = []
    names = sorted(sources)
    if not names:
        findings.append(Finding(Place("policy", 1, 1), "there is no policy file"))
    elif sum(map(len, sources.values())) > MAX_TEXT and len(names) > 1:
        findings.append(
            Finding(Place(names[0], 1, 1), f"more than {MAX_TEXT} characters in all files together")
        )
    raise_for(findings)
    trees = [tree for name in names if (tree := read(name, sources[name], findings)) is not None]
    raise_for(findings)
    data, places = merge(trees, findings)
    partial = document_of(data, places, findings)
    if partial is not None and findings:
        findings += check(partial.document, places, partial.missing)[0]
    raise_for(findings)
    assert partial is not None, "a document that cannot be read leaves findings"
    return Policy.build(partial.document, places)
