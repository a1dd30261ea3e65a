"""Ctrl-C and SIGTERM at any moment: one line, an exit code, and nothing left behind."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Stops its own process in an analysis, while a zip lies unpacked in a temporary folder.
STOPS_ITSELF = """
import os, time, inference.pipeline
def stop(*_, **__):
    os.kill(os.getpid(), {number})
    time.sleep(60)
inference.pipeline.analyse = stop
from serving.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_says_so_and_leaves_nothing_behind(
    package: Path, series: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    study = shutil.make_archive(str(tmp_path / "study"), "zip", series)
    words = [sys.executable, "-c", STOPS_ITSELF.format(number=int(number)), "analyse", study]
    words += ["--out", str(tmp_path / "o"), "--package", str(package)]
    environment = os.environ | {"TMPDIR": str(temporary)}
    ended = subprocess.run(
        words, capture_output=True, text=True, env=environment, timeout=50, check=False
    )
    assert ended.returncode == code
    assert ended.stderr.startswith("error[interrupted]: stopped by SIG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study.zip", "tmp"]
    assert list(temporary.iterdir()) == []


# As some libraries do: they make an error of their own of whatever ends their work.
MAKES_AN_ERROR_OF_A_STOP = """
import os, signal, inference.pipeline
def stop(*_, **__):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    except BaseException as error:
        raise ValueError from error
inference.pipeline.analyse = stop
from serving.cli import main
main()
"""


def test_what_a_library_makes_of_a_stop_is_no_error_to_tell(
    package: Path, series: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", MAKES_AN_ERROR_OF_A_STOP, "analyse", str(series)]
    words += ["--out", str(tmp_path / "o"), "--package", str(package)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=50, check=False)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (130, 2)
    assert ended.stderr.startswith("error[interrupted]: stopped by SIGINT")


# Stops its own process while a module is being imported, as Ctrl-C in the first moment does.
STOPS_AT_AN_IMPORT = """
import os, signal, sys
class Stops:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Stops())
from serving.cli import main
main()
"""


@pytest.mark.parametrize("module", ["serving.cli.commands", "typer", "inference.pipeline"])
def test_a_stop_while_imports_run_is_one_line(module: str, tmp_path: Path) -> None:
    words = [sys.executable, "-c", STOPS_AT_AN_IMPORT.format(module=module)]
    words += ["analyse", str(tmp_path / "in"), "--out", str(tmp_path / "o")]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == 130
    assert ended.stderr.splitlines() == [
        "error[interrupted]: stopped by SIGINT",
        "  hint: nothing is half-written",
    ]


def test_only_the_standard_library_is_imported_before_a_stop_is_watched_for() -> None:
    code = (
        "import sys; before = {*sys.modules}; import serving.cli; print(*{*sys.modules} - before)"
    )
    words = [sys.executable, "-c", code]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=50, check=True)
    packages = {name.partition(".")[0] for name in ended.stdout.split()}
    assert packages - {"serving"} <= sys.stdlib_module_names
