"""Kernels: the versions of the rules of deciding, of which every entry names the one it happened under.

1. A kernel is everything between a policy document with an inputs document and the digest of a verdict:
   compiling, deciding, combining, holding, and the words of built-in reasons, which the digest covers.
2. A kernel never changes. Whatever would give any recorded question another digest is a new kernel, were it
   only a built-in reason put better; recorded questions with their digests in the tests tell when that is.
3. To add kernel 2: keep the modules of the room `policy` as they were for kernel 1 (`policy/kernel_1/`, and
   what they use of `model.verdicts`), let `kernel_one` here import those, write `kernel_two` over the new
   ones, add it below, and raise `KERNEL` of the room `ledger`. The recorded questions of kernel 1 stay as
   they are and have to pass for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Protocol

from interlock.model.verdicts import Decision, Verdict
from interlock.replay.kernel_one import PolicyOne


class Ruling(Protocol):
    """A policy under one kernel."""

    def decide(self, document: Mapping[str, Any]) -> Verdict:
        """The verdict on an inputs document. Raises `InvalidInput` where this kernel knows no such."""

    def held_after_edit(self, verdict: Verdict, was: Verdict) -> Verdict:
        """The verdict on an edit of what was decided as `was`."""

    def held_as_stale(self, verdict: Verdict, was: Verdict) -> Verdict:
        """The verdict on what was decided as `was` and became stale."""

    def held_as_drifted(self, verdict: Verdict, was: Verdict) -> Verdict:
        """The verdict on what was decided as `was`, in a world that changed since."""

    def retention(self, topic: str) -> int | None:
        """For how many seconds the executor of a topic answers a repeated key with its first answer; None
        where nobody says that it does. Raises `InvalidInput` where that is no topic."""

    def impossible(
        self, topic: str, rule: str, tier: int | None, said: Set[Decision], *, observed: bool
    ) -> str | None:
        """Why no action of the topic can have got such a verdict; None where one can.

        Args:
            said: what the rule may have decided, before a mode or the gate made something else of it.
            observed: whether the entry says that the verdict is not enforced.
        """


class Kernel(Protocol):
    """How a kernel reads a policy."""

    def __call__(self, document: bytes) -> Ruling:
        """The policy of a canonical document. Raises `PolicyError` where this kernel reads no such."""


KERNELS: Mapping[int, Kernel] = {1: PolicyOne}
