"""Places for results: one sentence for what cannot be written, and apart from what is read."""

import errno
import os
from pathlib import Path

import pytest

from firstread.errors import OutputError, UsageError
from firstread.places import cannot_write, check_apart, check_writable


def test_a_place_below_a_file_is_named_with_that_file(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear colleague")
    with pytest.raises(OutputError, match="letter is no folder"):
        check_writable(tmp_path / "letter/a/b")


def test_what_is_absent_above_a_place_is_no_fault_and_nothing_stays(tmp_path: Path) -> None:
    check_writable(tmp_path / "a/b/c")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_one_is_in_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (Path(), tmp_path):
        with pytest.raises(OutputError, match="the folder you are in"):
            check_writable(place)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.EACCES, "you have no right to write in {above}"),
        (errno.EROFS, "{above} can only be read"),
        (errno.ENOSPC, "the disk of {above} is full"),
        (errno.EBUSY, "{place} is in use, so it cannot be replaced"),
        (errno.EIO, "nothing can be written in {above} (Input/output error)"),
    ],
)
def test_what_the_system_refuses_is_one_sentence_with_advice(
    tmp_path: Path, number: int, sentence: str
) -> None:
    place = tmp_path / "o"
    error = cannot_write(place, OSError(number, os.strerror(number)))
    said = sentence.format(place=place, above=tmp_path)
    assert error.message == f"{place} cannot be written: {said}"
    assert error.advice


def test_too_long_a_name_is_told_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the name is too long"):
        check_writable(tmp_path / ("x" * 300))


@pytest.mark.parametrize("out", ["study", "study/o", "study/a/o", "link/o", "study/../study/o"])
def test_a_place_in_an_input_is_refused(tmp_path: Path, out: str) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "link").symlink_to("study")
    for given in ("study", "link"):
        with pytest.raises(UsageError, match="its own results"):
            check_apart(tmp_path / out, [tmp_path / "elsewhere", tmp_path / given])


@pytest.mark.parametrize("given", ["o/study", "o/study/1.dcm", "link"])
def test_a_place_that_holds_an_input_is_refused(tmp_path: Path, given: str) -> None:
    (tmp_path / "o/study").mkdir(parents=True)
    (tmp_path / "link").symlink_to("o/study")
    with pytest.raises(UsageError, match="holds the input"):
        check_apart(tmp_path / "o", [tmp_path / given])


@pytest.mark.parametrize("given", ["study", "o-study", "study/1.dcm", "o.zip"])
def test_a_place_beside_the_input_is_a_good_one(tmp_path: Path, given: str) -> None:
    check_apart(tmp_path / "o", [tmp_path / given])
