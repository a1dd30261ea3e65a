"""The command line as its users meet it: exit codes, one JSON document, one line for each error."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

import pydicom
import pytest

from models.package import available_packages
from tests.builders import a_phantom, phantom_folder
from tests.serving.cli.conftest import Run
from tests.shared import SHARED, needs_shared


def test_analyse_writes_everything_it_names_and_exits_0(
    run: Run, package: Path, series: Path, tmp_path: Path
) -> None:
    code, out, err = run("analyse", series, "--out", tmp_path / "o", "--package", package, "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document["verdict"] == {"status": "accept", "reasons": []}
    assert document["findings"]
    written = {
        str(p.relative_to(tmp_path / "o")) for p in (tmp_path / "o").rglob("*") if p.is_file()
    }
    files = document["files"]
    assert written == {"findings.json", files["seg"], files["sr"], *files["key_images"]}
    assert json.loads((tmp_path / "o/findings.json").read_text("utf-8")) == document


def test_gate_only_says_the_same_verdict_and_writes_nothing(
    run: Run, package: Path, series: Path, tmp_path: Path
) -> None:
    code, out, _ = run("analyse", series, "--gate-only", "--package", package, "--json")
    assert code == 0
    assert json.loads(out)["verdict"]["status"] == "accept"
    assert json.loads(out)["series_choice"]["instances"] == 60
    assert list(tmp_path.iterdir()) == []


def test_a_single_slice_is_too_few_and_nothing_else(run: Run, package: Path, series: Path) -> None:
    words = ("analyse", series / "0030.dcm", "--gate-only", "--package", package)
    code, out, _ = run(*words)
    first, reason, in_chinese = out.splitlines()
    assert code == 5
    assert first == "verdict: refuse  (1 instance; the only CT series: 1 slice)"
    assert reason.startswith("  too-few-slices: Only 1 slice(s)")
    assert in_chinese.strip()


def test_gate_only_needs_no_weights(run: Run, package: Path, series: Path, tmp_path: Path) -> None:
    shutil.copytree(package, tmp_path / "p")
    (tmp_path / "p/detect.onnx").unlink()
    assert run("analyse", series, "--gate-only", "--package", tmp_path / "p")[0] == 0


def test_a_study_with_a_hole_exits_4_and_its_result_says_where(
    run: Run, package: Path, series: Path, tmp_path: Path
) -> None:
    shutil.copytree(series, tmp_path / "s")
    for number in range(28, 34):
        (tmp_path / f"s/{number:04d}.dcm").unlink()
    code, out, _ = run("analyse", tmp_path / "s", "--out", tmp_path / "o", "--package", package)
    assert code == 4
    assert "slices-missing" in out
    assert (tmp_path / "o/sr.dcm").exists()
    assert not (tmp_path / "o/seg.dcm").exists()


def test_dicom_without_a_ct_exits_5(run: Run, package: Path, series: Path, tmp_path: Path) -> None:
    run("analyse", series, "--out", tmp_path / "o", "--package", package)
    (tmp_path / "in").mkdir()
    shutil.copy(tmp_path / "o/sr.dcm", tmp_path / "in")
    code, out, _ = run(
        "analyse", tmp_path / "in", "--out", tmp_path / "p", "--package", package, "--json"
    )
    assert code == 5
    assert [reason["code"] for reason in json.loads(out)["verdict"]["reasons"]] == ["not-ct"]
    assert [path.name for path in (tmp_path / "p").iterdir()] == ["findings.json"]


def test_nothing_readable_exits_3_and_writes_no_output(
    run: Run, package: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/letter.txt").write_text("dear colleague")
    code, out, err = run("analyse", tmp_path / "in", "--out", tmp_path / "o", "--package", package)
    assert (code, out) == (3, "")
    assert err.startswith("error[nothing-readable]: ")
    assert not (tmp_path / "o").exists()


def test_two_studies_exit_2_with_their_list_and_one_can_be_chosen(
    run: Run, package: Path, series: Path, tmp_path: Path
) -> None:
    other = phantom_folder(a_phantom((14.0,), 2.5, seed=2))
    uids = [pydicom.dcmread(folder / "0001.dcm").StudyInstanceUID for folder in (series, other)]
    code, _, err = run("analyse", series, other, "--gate-only", "--package", package)
    assert code == 2
    assert err.splitlines()[:2] == [
        "error[several-studies]: the input holds 2 studies",
        "  hint: choose one with --study UID:",
    ]
    lines = [f"    {uid}  CT  60 instances  2026-01-05" for uid in uids]
    assert sorted(err.splitlines()[2:]) == sorted(lines)
    chosen = ("analyse", series, other, "--gate-only", "--package", package, "--study", uids[1])
    assert run(*chosen)[0] == 0


def test_an_output_that_is_not_ours_is_never_replaced(
    run: Run, package: Path, series: Path, tmp_path: Path
) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o/thesis.txt").write_text("years of work")
    words = ("analyse", series, "--out", tmp_path / "o", "--package", package)
    for more in ((), ("--replace",)):
        code, _, err = run(*words, *more)
        assert code == 7
        assert err.startswith("error[output-exists]: ")
    assert (tmp_path / "o/thesis.txt").read_text() == "years of work"


@pytest.mark.slow
def test_an_older_result_is_replaced_when_asked(
    run: Run, package: Path, series: Path, tmp_path: Path
) -> None:
    words = ("analyse", series, "--out", tmp_path / "o", "--package", package)
    assert run(*words)[0] == 0
    assert run(*words)[0] == 7
    assert run(*words, "--replace")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["o"]


def test_a_changed_byte_in_the_package_exits_6(
    run: Run, package: Path, series: Path, tmp_path: Path
) -> None:
    shutil.copytree(package, tmp_path / "p")
    weights = bytearray((tmp_path / "p/detect.onnx").read_bytes())
    weights[len(weights) // 2] ^= 1
    (tmp_path / "p/detect.onnx").write_bytes(weights)
    code, out, err = run("analyse", series, "--out", tmp_path / "o", "--package", tmp_path / "p")
    assert (code, out) == (6, "")
    assert err.startswith("error[package-damaged]: ")
    assert err.count("\n") == 2
    assert run("models", "verify", tmp_path / "p")[0] == 6


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("analyse", "x"), 2, "usage"),
        (("analyse", "--out"), 2, "usage"),
        (("no-such-command",), 2, "usage"),
        (("analyse", "x", "--out", "o", "--package", "no_such_package"), 6, "package-missing"),
        (("phantom", "x", "--nodules", "six"), 2, "usage"),
        (("phantom", "x", "--names", "klingon"), 2, "usage"),
    ],
)
def test_wrong_usage_is_one_line_with_code_and_advice(
    run: Run, words: tuple[str, ...], code: int, error: str
) -> None:
    got, out, err = run(*words)
    assert (got, out) == (code, "")
    first, hint, rest = err.split("\n")
    assert first.startswith(f"error[{error}]: ")
    assert hint.startswith("  hint: ")
    assert rest == ""


def test_a_bug_is_one_line_without_a_traceback_unless_asked(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall_over(name: str) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("importlib.metadata.version", fall_over)
    code, _, err = run("version")
    assert code == 1
    assert err.startswith("error[internal]: a bug: ZeroDivisionError\n  hint: ")
    code, _, err = run("version", "--debug")
    assert code == 1
    assert "Traceback" in err
    assert "error[internal]: a bug: ZeroDivisionError" in err


def test_phantom_writes_instances_and_their_truth(run: Run, tmp_path: Path) -> None:
    words = ("phantom", tmp_path / "p", "--slices", 40, "--spacing", 2.5, "--matrix", 128, "--json")
    code, out, _ = run(*words, "--nodules", "8,12")
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "p/truth.json").read_text("utf-8"))
    assert [nodule["diameter_mm"] for nodule in json.loads(out)["nodules"]] == [8.0, 12.0]
    assert len(list((tmp_path / "p").glob("*.dcm"))) == 40


def test_models_show_and_verify_name_the_same_identity(run: Run, package: Path) -> None:
    shown = json.loads(run("models", "show", package, "--json")[1])
    verified = json.loads(run("models", "verify", package, "--json")[1])
    assert shown["sha256"] == verified["sha256"]
    assert verified["package"] == f"{shown['name']}@{shown['version']}"


@pytest.mark.parametrize("text", ["8，12", "8、12", "８, 12", " 8 ，12，"])
def test_diameters_may_be_typed_on_a_chinese_keyboard(run: Run, tmp_path: Path, text: str) -> None:
    words = ("phantom", tmp_path / "p", "--slices", 40, "--spacing", 2.5, "--matrix", 64, "--json")
    nodules = json.loads(run(*words, "--nodules", text)[1])["nodules"]
    assert [nodule["diameter_mm"] for nodule in nodules] == [8.0, 12.0]


def test_a_phantom_that_would_not_be_scored_says_so_at_once(run: Run, tmp_path: Path) -> None:
    words = ("phantom", tmp_path / "p", "--slices", 24, "--spacing", 3.5, "--nodules", "")
    notes = run(*words, "--matrix", 128)[2].splitlines()
    code, out, _ = run("analyse", tmp_path / "p", "--gate-only", "--json")
    reasons = {reason["code"] for reason in json.loads(out)["verdict"]["reasons"]}
    assert code == 5
    assert {"pixels-too-large", "slices-too-thick", "too-few-slices"} <= reasons
    said = {note.partition("(")[2].partition(":")[0] for note in notes}
    assert said == {"pixels-too-large", "slices-too-thick", "too-few-slices"}
    assert all(note.startswith("note: lung_nodule@") for note in notes)


def test_a_phantom_that_can_be_scored_has_no_note(run: Run, tmp_path: Path) -> None:
    words = ("phantom", tmp_path / "p", "--slices", 40, "--spacing", 2.5, "--nodules", "")
    assert run(*words, "--matrix", 359)[2] == ""


def test_version_is_an_option_as_well_as_a_command(run: Run) -> None:
    assert run("--version") == run("version")


def test_version_names_the_runtimes(run: Run) -> None:
    document = json.loads(run("version", "--json")[1])
    assert document["firstread"]
    assert "onnxruntime" in document["runtimes"]


@needs_shared
def test_a_ct_without_uids_is_refused_and_named_in_no_sr(
    run: Run, package: Path, tmp_path: Path
) -> None:
    scan = SHARED / "data/ct/totalsegmentator-tests"
    code, out, _ = run("analyse", scan, "--out", tmp_path / "o", "--package", package, "--json")
    codes = {reason["code"] for reason in json.loads(out)["verdict"]["reasons"]}
    assert code == 5
    assert {"uids-missing", "not-chest"} <= codes
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["findings.json"]


def test_slices_without_uids_are_counted_although_no_result_names_them(
    run: Run, package: Path, series: Path, tmp_path: Path
) -> None:
    (tmp_path / "s").mkdir()
    for path in series.glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID = dataset.SeriesInstanceUID = dataset.SOPInstanceUID = ""
        dataset.save_as(tmp_path / "s" / path.name)
    words = ("analyse", tmp_path / "s", "--package", package)
    for more in (("--gate-only",), ("--out", tmp_path / "o")):
        out = run(*words, *more)[1]
        assert out.startswith("verdict: refuse  (60 instances; the only CT series: 60 axial slices")
    document = json.loads((tmp_path / "o/findings.json").read_text("utf-8"))
    assert document["series_choice"]["instances"] == 60


def test_an_unknown_operating_point_is_refused_before_anything_is_read(
    run: Run, package: Path, tmp_path: Path
) -> None:
    words = ("analyse", tmp_path / "absent", "--out", tmp_path / "o", "--package", package)
    code, _, err = run(*words, "--operating-point", "blanced")
    assert code == 2
    assert "balanced" in err.splitlines()[1]


def test_a_file_that_was_cut_on_the_way_is_counted_and_never_passed_over(
    run: Run, package: Path, series: Path, tmp_path: Path
) -> None:
    shutil.copytree(series, tmp_path / "s")
    top = tmp_path / "s/0001.dcm"
    top.write_bytes(top.read_bytes()[:-2000])
    words = ("analyse", tmp_path / "s", "--gate-only", "--package", package)
    assert "not read: 1 file(s), truncated" in run(*words)[1]
    assert json.loads(run(*words, "--json")[1])["series_choice"]["unread"] == {"truncated": 1}
    codes = [
        reason["code"] for reason in json.loads(run(*words, "--json")[1])["verdict"]["reasons"]
    ]
    assert codes == ["files-unread"]


def test_what_the_manifest_names_and_did_not_arrive_is_asked_for(
    run: Run, package: Path, series: Path, tmp_path: Path
) -> None:
    sent = [str(pydicom.dcmread(path).SOPInstanceUID) for path in sorted(series.glob("*.dcm"))]
    (tmp_path / "sent.txt").write_text("# study of today\n\n" + "\n".join(sent) + "\n")
    words = ("analyse", series, "--gate-only", "--package", package, "--manifest")
    assert run(*words, tmp_path / "sent.txt")[0] == 0
    (tmp_path / "more.txt").write_text("\n".join([*sent, "1.2.3.4", "1.2.3.5"]))
    code, out, _ = run(*words, tmp_path / "more.txt", "--json")
    (reason,) = json.loads(out)["verdict"]["reasons"]
    assert code == 4
    assert reason["code"] == "instances-missing"
    assert reason["numbers"] == {
        "witness": "manifest", "expected": 62, "received": 60, "missing": 2
    }  # fmt: skip
    assert "the sender's manifest" in reason["en"]


@pytest.mark.parametrize("text", ["", "1.2.3\nnot a uid\n", "# only a comment\n"])
def test_a_manifest_that_is_none_is_wrong_usage(
    run: Run, package: Path, series: Path, tmp_path: Path, text: str
) -> None:
    (tmp_path / "sent.txt").write_text(text)
    words = ("analyse", series, "--gate-only", "--package", package, "--manifest")
    assert run(*words, tmp_path / "sent.txt")[0] == 2


def test_gate_only_with_an_output_is_refused(run: Run, series: Path, tmp_path: Path) -> None:
    assert run("analyse", series, "--gate-only", "--out", tmp_path / "o")[0] == 2


def test_a_phantom_never_goes_among_other_files(run: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert run("phantom", tmp_path)[0] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.slow
def test_a_gbk_terminal_gets_its_lines_and_json_stays_utf_8(
    package: Path, series: Path, tmp_path: Path
) -> None:
    shutil.copytree(series, tmp_path / "s")
    (tmp_path / "s/0030.dcm").unlink()
    words = [sys.executable, "-c", "from serving.cli import main; main()"]
    words += ["analyse", str(tmp_path / "s"), "--gate-only", "--package", str(package)]
    environment = os.environ | {"PYTHONIOENCODING": "gbk", "PYTHONUTF8": "0"}
    plain = subprocess.run(words, capture_output=True, env=environment, check=False)
    assert plain.returncode in (0, 4, 5), plain.stderr
    assert plain.stdout.decode("gbk").startswith("verdict: ")
    machine = subprocess.run([*words, "--json"], capture_output=True, env=environment, check=False)
    assert json.loads(machine.stdout.decode("utf-8"))["verdict"]


MARKS = {
    "PatientName": "MARKEDNAME^MARKEDGIVEN",
    "PatientID": "MARKEDID77",
    "PatientBirthDate": "19010203",
    "AccessionNumber": "MARKEDACC",
    "ReferringPhysicianName": "MARKEDREF^X",
    "InstitutionName": "MARKEDINST",
}


@pytest.fixture
def marked(series: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "marked"
    folder.mkdir()
    for path in sorted(series.glob("*.dcm")):
        dataset = pydicom.dcmread(path)
        for keyword, value in MARKS.items():
            setattr(dataset, keyword, value)
        dataset.save_as(folder / path.name)
    return folder


@pytest.mark.parametrize("damage", ["none", "gap", "cut-file", "no-pixels", "two-patients"])
def test_nothing_that_names_a_patient_is_said_or_stands_in_findings_json(
    run: Run, package: Path, marked: Path, tmp_path: Path, damage: str
) -> None:
    files = sorted(marked.glob("*.dcm"))
    if damage == "gap":
        for path in files[20:26]:
            path.unlink()
    elif damage == "cut-file":
        files[30].write_bytes(files[30].read_bytes()[:-1000])
    elif damage == "no-pixels":
        for path in files[:40]:
            dataset = pydicom.dcmread(path)
            del dataset.PixelData
            dataset.save_as(path)
    elif damage == "two-patients":
        dataset = pydicom.dcmread(files[10])
        dataset.PatientID = "MARKEDOTHER"
        dataset.save_as(files[10])
    words = ("analyse", marked, "--out", tmp_path / "o", "--package", package)
    _, out, err = run(*words)
    said = (out + err).replace(str(tmp_path), "")
    written = (tmp_path / "o/findings.json").read_text("utf-8")
    for text in (said, written):
        assert "MARKED" not in text
        assert "19010203" not in text


def test_the_shipped_package_is_found_by_default_and_by_name(run: Run, series: Path) -> None:
    listed = json.loads(run("models", "list", "--json")[1])
    assert "lung_nodule" in [package["name"] for package in listed]
    assert run("models", "verify")[0] == 0
    assert run("models", "show", "lung_nodule")[0] == 0
    # The small chest has pixels of 1.4 mm, the package's own limit is 1.0 mm.
    for words in ((), ("--package", available_packages()[0])):
        code, out, _ = run("analyse", series, "--gate-only", "--json", *words)
        codes = [reason["code"] for reason in json.loads(out)["verdict"]["reasons"]]
        assert (code, codes) == (5, ["pixels-too-large"])


def test_debug_adds_a_traceback_and_changes_no_exit_code(run: Run, tmp_path: Path) -> None:
    code, out, err = run("--debug", "analyse", tmp_path, "--gate-only")
    assert (code, out) == (3, "")
    assert "Traceback" in err
    assert "error[nothing-readable]: " in err


def _firstread(*words: object, stdout: int | IO[bytes]) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", "from serving.cli import main; main()"]
    return subprocess.run(
        [*command, *(str(word) for word in words)],
        stdout=stdout, stderr=subprocess.PIPE, timeout=50, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_changes_no_exit_code(package: Path, series: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = ("analyse", series, "--gate-only", "--package", package)
    ended = _firstread(*words, stdout=writing)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_an_answer_that_cannot_be_written_is_an_output_error(package: Path, series: Path) -> None:
    words = ("analyse", series, "--gate-only", "--package", package)
    with Path("/dev/full").open("wb") as full:
        ended = _firstread(*words, stdout=full)
    assert ended.returncode == 7
    assert ended.stderr.startswith(b"error[output-unwritable]: standard output: ")


def test_an_unscored_study_says_that_nothing_was_scored(
    run: Run, package: Path, series: Path, tmp_path: Path
) -> None:
    shutil.copytree(series, tmp_path / "s")
    for number in range(28, 34):
        (tmp_path / f"s/{number:04d}.dcm").unlink()
    out = run("analyse", tmp_path / "s", "--out", tmp_path / "o", "--package", package)[1]
    assert "Nothing was scored" in out
    assert "Decision support, not a diagnosis." in out


def test_an_empty_folder_is_a_place_for_results(
    run: Run, package: Path, series: Path, tmp_path: Path
) -> None:
    (tmp_path / "o").mkdir()
    assert run("analyse", series, "--out", tmp_path / "o", "--package", package)[0] == 0
    assert (tmp_path / "o/findings.json").exists()


def test_what_is_not_ours_is_never_said_to_be_replaceable(
    run: Run, package: Path, series: Path, tmp_path: Path
) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o/thesis.txt").write_text("years of work")
    err = run("analyse", series, "--out", tmp_path / "o", "--package", package)[2]
    assert "--replace" not in err


def test_a_usage_hint_names_the_command(run: Run) -> None:
    assert run("analyse", "--out")[2].splitlines()[1] == "  hint: firstread analyse --help"


@pytest.mark.parametrize(
    ("option", "value"),
    [("--slices", "1000000"), ("--seed", "99999999999"), ("--spacing", "0"), ("--spacing", "nan")],
)
def test_an_absurd_phantom_is_wrong_usage_that_names_the_limit(
    run: Run, tmp_path: Path, option: str, value: str
) -> None:
    code, _, err = run("phantom", tmp_path / "p", option, value)
    assert code == 2
    assert option.removeprefix("--").replace("spacing", "slices of") in err
