"""What a folder has to send, and the command that sends it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from firstread.errors import NothingReadable
from serving.cli import commands
from serving.sending.outgoing import find_outgoing
from tests.builders import a_phantom, phantom_folder
from tests.serving.sending.a_peer import a_server, address, json_reply


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = phantom_folder(a_phantom((6.0,), 8.0, matrix=128, slices=12))
    return Path(shutil.copytree(source, tmp_path_factory.mktemp("sent") / "study"))


def test_the_files_of_a_study_are_found_and_others_are_counted(folder: Path) -> None:
    with find_outgoing([folder]) as outgoing:
        (study,) = outgoing.studies
        assert len(study.files) == 12
        assert all(file.size_bytes == file.path.stat().st_size for file in study.files)
        assert outgoing.skipped == {"not-dicom": 1}  # truth.json


def test_a_zip_is_sent_like_its_files(folder: Path, tmp_path: Path) -> None:
    with ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    with find_outgoing([tmp_path / "study.zip"]) as outgoing:
        sent = sorted(file.path.read_bytes() for file in outgoing.studies[0].files)
    assert sent == sorted(path.read_bytes() for path in folder.glob("*.dcm"))


def test_a_folder_without_dicom_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no DICOM")
    with pytest.raises(NothingReadable), find_outgoing([tmp_path]):
        pass


def test_the_command_says_what_became_of_the_study(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = {"00081199": {"vr": "SQ", "Value": [{}] * 12}}
    with a_server(json_reply(200, stored)) as server:
        code = commands.run(["send", str(folder), "--to", address(server), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [(one["files"], one["stored"]) for one in document["studies"]] == [(12, 12)]


def test_a_study_that_was_refused_in_part_is_no_success(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = {"00081197": {"vr": "US", "Value": [0xC000]}}
    answer = {
        "00081199": {"vr": "SQ", "Value": [{}] * 11},
        "00081198": {"vr": "SQ", "Value": [failed]},
    }
    with a_server(json_reply(202, answer)) as server:
        code = commands.run(["send", str(folder), "--to", address(server)])
    out = capsys.readouterr().out
    assert code == 10
    assert "11 of 12 files" in out
    assert "failure reason 0xc000" in out


def test_a_damaged_slice_is_named_and_is_no_success(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Path(shutil.copytree(folder, tmp_path / "study"))
    cut = min(study.glob("*.dcm"))
    cut.write_bytes(cut.read_bytes()[:700])
    stored = {"00081199": {"vr": "SQ", "Value": [{}] * 11}}
    with a_server(json_reply(200, stored)) as server:
        code = commands.run(["send", str(study), "--to", address(server)])
    said = capsys.readouterr()
    assert code == 10
    assert "11 of 11 files" in said.out
    assert cut.name in said.err


def test_sending_needs_no_database_and_no_network_library_of_the_service() -> None:
    code = (
        "import sys, serving.sending.deliver\n"
        "heavy = {'sqlalchemy', 'fastapi', 'highdicom', 'openvino', 'scipy'} & set(sys.modules)\n"
        "raise SystemExit(', '.join(sorted(heavy)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
