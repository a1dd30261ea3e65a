"""The named points do nothing, unless a test asks for one."""

import os
import signal
import subprocess
import sys

import pytest

from serving.faults import VARIABLE, point

CODE = "from serving.faults import point\nfor n in range(5): point('here'); point('there')"


@pytest.mark.parametrize(
    ("fault", "returncode"), [("here:5", -signal.SIGKILL), ("here:6", 0), ("elsewhere:1", 0)]
)
def test_a_process_ends_at_the_asked_passing(fault: str, returncode: int) -> None:
    environment = {**os.environ, VARIABLE: fault}
    ended = subprocess.run([sys.executable, "-c", CODE], env=environment, check=False, timeout=60)
    assert ended.returncode == returncode


def test_without_the_variable_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    point("here")
