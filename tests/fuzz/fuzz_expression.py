"""Conditions from anywhere: see `targets.condition`."""

from __future__ import annotations

import atheris
from harness import run

with atheris.instrument_imports(include=["interlock.policy"]):
    from targets import CONDITIONS, WORDS, condition

if __name__ == "__main__":
    run(condition, CONDITIONS, WORDS)
