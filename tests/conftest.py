"""With FIRSTREAD_NO_SKIP=1 a skipped test is a failure, unless its reason stands here.

No property is given a time: how long an example takes says what else the machine does.
"""

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

settings.register_profile("firstread", deadline=None)
settings.load_profile("firstread")

ALLOWED_SKIPS = ("../shared is absent", "no CUDA device", "no AMX")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: "TerminalReporter", config: pytest.Config) -> None:
    if os.environ.get("FIRSTREAD_NO_SKIP") != "1":
        return
    reasons = {str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])}
    unexpected = sorted(r for r in reasons if not any(allowed in r for allowed in ALLOWED_SKIPS))
    if unexpected:
        terminalreporter.write_line(
            f"FIRSTREAD_NO_SKIP: {len(unexpected)} unexpected skips", red=True
        )
        for reason in unexpected:
            terminalreporter.write_line(f"  {reason}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("FIRSTREAD_NO_SKIP") != "1" or hasattr(session.config, "workerinput"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if any(not any(a in str(report.longrepr) for a in ALLOWED_SKIPS) for report in skipped):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
