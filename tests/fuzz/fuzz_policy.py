"""Policies from anywhere: see `targets.policy`."""

from __future__ import annotations

import atheris
from harness import run

with atheris.instrument_imports(include=["interlock.policy"]):
    from targets import POLICIES, WORDS, policy

if __name__ == "__main__":
    run(policy, POLICIES, WORDS)
