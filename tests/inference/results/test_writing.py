"""OUT is whole or absent, is never somebody else's, and says the same whoever writes it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from firstread.errors import OutputError, OutputExists
from inference.gate.reasons import Code, Reason, Status, Verdict
from inference.results import writing
from inference.results.analysis import Analysis, OperatingPointUsed, RuntimeIdentity
from inference.results.writing import check_place, is_ours, write_results
from tests.conformance import check, check_no_shared_uid, check_twins
from tests.inference.results.a_series import (
    Spec,
    an_analysis,
    not_scored,
    nothing_found,
    numbers_of,
    series_folder,
    written,
)

NO_CT = replace(
    not_scored(),
    study=None,
    series=None,
    instances=(),
    verdict=Verdict((Reason(Code.NOT_CT, Status.REFUSE, numbers_of(Code.NOT_CT)),)),
)
FILES_OF = {
    "findings": {"findings.json", "seg.dcm", "sr.dcm", "1.png", "2.png"},
    "nothing found": {"findings.json", "sr.dcm"},
    "not scored": {"findings.json", "sr.dcm"},
    "no CT with UIDs": {"findings.json"},
}
OUTCOMES = {
    "findings": an_analysis(),
    "nothing found": nothing_found(),
    "not scored": not_scored(),
    "no CT with UIDs": NO_CT,
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_each_outcome_writes_its_files_and_no_others(outcome: str) -> None:
    out = written(OUTCOMES[outcome])
    assert {path.name for path in out.rglob("*") if path.is_file()} == FILES_OF[outcome]


@pytest.mark.parametrize("outcome", ["findings", "nothing found", "not scored"])
def test_each_outcome_conforms(outcome: str) -> None:
    assert check(series_folder(Spec()), written(OUTCOMES[outcome])) == []


@pytest.mark.slow
def test_a_limit_is_scored_and_stands_among_the_comments(tmp_path: Path) -> None:
    numbers = numbers_of(Code.SLICES_DOUBLED)
    verdict = Verdict((Reason(Code.SLICES_DOUBLED, Status.LIMITS, numbers),))
    write_results(replace(nothing_found(), verdict=verdict), tmp_path / "out")
    assert check(series_folder(Spec()), tmp_path / "out") == []


def test_an_existing_place_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OutputExists, match="something else"):
        check_place(tmp_path, replace=False)
    with pytest.raises(OutputExists, match="something else"):
        write_results(NO_CT, tmp_path, replace=True)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_earlier_results_are_replaced_on_demand(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_results(NO_CT, out)
    write_results(replace(NO_CT, software_version="0.2.0"), out, replace=True)
    assert json.loads((out / "findings.json").read_bytes())["software"]["version"] == "0.2.0"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("foreign", ["notes.txt", "key_images/notes.txt"])
def test_results_with_a_foreign_file_among_them_are_not_ours(tmp_path: Path, foreign: str) -> None:
    write_results(NO_CT, tmp_path / "out")
    assert is_ours(tmp_path / "out")
    (tmp_path / "out" / "key_images").mkdir()
    (tmp_path / "out" / foreign).write_text("x")
    assert not is_ours(tmp_path / "out")


def test_a_failure_while_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "draw_key_image", full_disk)
    with pytest.raises(OutputError, match="is full"):
        write_results(an_analysis(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_when_the_last_step_fails_the_older_result_stands_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    write_results(an_analysis(Spec()), out)
    before = (out / "findings.json").read_bytes()
    rename = Path.rename

    def fail_for_the_fresh_one(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_fresh_one)
    with pytest.raises(OutputError, match="is full"):
        write_results(an_analysis(Spec()), out, replace=True)
    assert (out / "findings.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_place_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        write_results(NO_CT, tmp_path / "file" / "out")


@pytest.mark.slow
def test_two_runs_in_one_process_write_the_same_bytes(tmp_path: Path) -> None:
    write_results(replace(an_analysis(), timings_s={"total": 9.0}), tmp_path / "twin")
    assert check_twins(written(an_analysis()), tmp_path / "twin") == []


OTHERS = {
    "package version": replace(
        an_analysis(), package=replace(an_analysis().package, version="1.0.1")
    ),
    "package hash": replace(
        an_analysis(), package=replace(an_analysis().package, sha256="cd" * 32)
    ),
    "software version": replace(an_analysis(), software_version="0.1.1"),
    "operating point": replace(
        an_analysis(), operating_point=OperatingPointUsed("high_sensitivity", 0.4, 0.05)
    ),
    "precision": replace(
        an_analysis(),
        runtime=RuntimeIdentity("onnxruntime-cpu", "bf16", "1.22.0", "AuthenticAMD-25 avx2"),
    ),
    "processor": replace(
        an_analysis(),
        runtime=RuntimeIdentity("onnxruntime-cpu", "f32", "1.22.0", "GenuineIntel-6 avx2"),
    ),
    "corrected name": an_analysis(Spec(name="Zhang^Si=张^四")),
    "other instances": an_analysis(Spec(instance_uid_seed="resent")),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", OTHERS)
def test_other_content_shares_no_uid(what: str) -> None:
    assert check_no_shared_uid(written(an_analysis()), written(OTHERS[what])) == []


TWIN = """
import sys
from pathlib import Path
from inference.results.writing import write_results
from tests.inference.results.a_series import Spec, an_analysis
write_results(an_analysis(Spec()), Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_another_process_with_other_hashes_and_clock_writes_the_same_bytes(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONHASHSEED": "4242", "TZ": "Asia/Shanghai"}
    root = Path(__file__).resolve().parents[3]
    subprocess.run(
        [sys.executable, "-c", TWIN, str(tmp_path / "twin")], env=environment, cwd=root, check=True
    )
    assert check_twins(written(an_analysis()), tmp_path / "twin") == []


def test_the_writers_need_no_highdicom_until_they_write() -> None:
    code = (
        "import sys, inference.results.writing, inference.pipeline;"
        "raise SystemExit('highdicom' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def only_uids(analysis: Analysis) -> set[str]:
    return {one.sop_instance_uid for one in analysis.instances}


def test_a_corrected_name_is_other_content_of_the_same_instances() -> None:
    assert only_uids(OTHERS["corrected name"]) == only_uids(an_analysis())
