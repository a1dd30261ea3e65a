"""Where the command line reads and writes: wrong places are told before anything is done."""

import shutil
from pathlib import Path

import pytest

from tests.serving.cli.conftest import Run


def test_an_output_in_the_input_is_wrong_usage(
    run: Run, package: Path, series: Path, tmp_path: Path
) -> None:
    shutil.copytree(series, tmp_path / "study")
    (tmp_path / "link").symlink_to("study")
    out = tmp_path / "study/o"
    code, _, err = run("analyse", tmp_path / "link", "--out", out, "--package", package)
    assert code == 2
    assert err.startswith(f"error[usage]: {out} lies in the input ")
    assert err.splitlines()[1].startswith("  hint: ")
    assert not out.exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
@pytest.mark.parametrize("command", ["analyse", "phantom"])
def test_an_unwritable_place_is_told_before_anything_is_done(
    run: Run, package: Path, series: Path, command: str
) -> None:
    words: tuple[object, ...] = ("phantom", "/proc/o")
    if command == "analyse":
        words = ("analyse", series, "--out", "/proc/o", "--package", package)
    code, out, err = run(*words)
    assert (code, out) == (7, "")
    assert err.splitlines() == [
        "error[output-unwritable]: /proc/o cannot be written: /proc takes no new folders",
        "  hint: choose another place for the output",
    ]


@pytest.mark.parametrize("given", ["absent", "letter.txt/absent"])
def test_an_input_that_is_not_there_is_named_with_advice(
    run: Run, package: Path, series: Path, tmp_path: Path, given: str
) -> None:
    (tmp_path / "letter.txt").write_text("dear colleague")
    words = ("analyse", series, tmp_path / given, "--gate-only", "--package", package)
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    first, hint = err.splitlines()
    assert first.startswith(f"error[usage]: the input {tmp_path / given} cannot be read: ")
    assert hint.startswith("  hint: check the path")
