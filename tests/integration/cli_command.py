"""The real command, as the tests of the command line run it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from interlock.cli import main

COMMAND = (sys.executable, "-m", "interlock.cli")
POLICY = """
interlock: 1
name: refunds
people: solo
actions:
  job.pay.refund:
    tier: 3
    raise_to: [{tier: 4, when: args.amount_usd >= 500}]
    risk_tags: [money]
    args:
      order_id: string
      amount_usd: {type: decimal, scale: 2, currency: USD}
      recipient: string
      copies: {type: integer, optional: true}
    roles: {amount: amount_usd, recipient: recipient}
    summary: Refund ${args.amount_usd} to {args.recipient} for order {args.order_id}
    worst_case: The money is gone
    execute: {caller: {}}
rules:
  - id: large
    match: {topics: [job.pay.refund], amount_usd_above: 100}
    decision: require_approval
    owner: finance-approvers
    lane: {window: 15m, on_timeout: deny}
    reason: Large refunds need finance
  - id: circles
    match: {retry_count_above: 2}
    decision: deny
    reason: Going in circles
  - id: prod
    match: {topics: [job.deploy.*], risk_tags: [prod]}
    decision: deny
    reason: Not from here
"""


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which holds exactly one JSON document."""
        return json.loads(self.out)


def environment(**extra: str) -> dict[str, str]:
    """This process's environment without anything that speaks to the command."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("INTERLOCK_")}
    return {**kept, "NO_COLOR": "1", "COLUMNS": "200", **extra}


def spawn(
    folder: Path, *arguments: str, stdin: str | bytes = b"", env: dict[str, str] | None = None
) -> Result:
    """Run the command in its own process and folder, not at a terminal. A traceback is always a failure."""
    done = subprocess.run(
        (*COMMAND, *arguments),
        cwd=folder,
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        env=environment(**(env or {})),
        timeout=60,
        check=False,
    )
    result = Result(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in result.err, result.err
    return result


def run(folder: Path, *arguments: str, stdin: str | bytes = b"", env: dict[str, str] | None = None) -> Result:
    """As `spawn`, in this process: the same entry, for the many cases where a process would show no more."""
    given = io.BytesIO(stdin.encode() if isinstance(stdin, str) else stdin)
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.dict(os.environ, environment(**(env or {})), clear=True),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(given)),
    ):
        code = main(arguments)
    return Result(code, _text(out), _text(err))


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


def with_policy(folder: Path, text: str = POLICY) -> Path:
    file = folder / "policy.yaml"
    file.write_text(text)
    return file
