"""What holds for every test.

1. Where `INTERLOCK_NO_SKIPS` is set, as the repository's gate sets it, a skipped test fails the run.
2. Ctrl-C means Ctrl-C: a run that was started in the background inherits an ignored SIGINT, and so would the
   programs that tests start and interrupt.
3. With ``-n auto`` there is one worker more than processors: tests wait more than they compute. A file stays
   with one worker, for the servers and browsers that its tests share.
"""

from __future__ import annotations

import os
import signal

import pytest

MOST_WORKERS = 8


def pytest_xdist_auto_num_workers() -> int:
    return min(MOST_WORKERS, (os.cpu_count() or 1) + 1)


def pytest_configure() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = len(reporter.stats.get("skipped", ())) if reporter is not None else 0
    if skipped and os.environ.get("INTERLOCK_NO_SKIPS") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"{skipped} skipped, and INTERLOCK_NO_SKIPS is set: this run fails", red=True)
