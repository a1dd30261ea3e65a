"""The folder of everything that is kept."""

import stat
from pathlib import Path

import pytest

from firstread.errors import ConfigurationError, OutputError
from serving.service.up import alone, make_data_folder
from serving.settings import Settings


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def test_a_new_data_folder_is_its_owner_s_alone(tmp_path: Path) -> None:
    make_data_folder(Settings(data=tmp_path / "var/demo"))
    assert mode(tmp_path / "var/demo") == 0o700


def test_one_that_others_could_look_into_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_data_folder(Settings(data=tmp_path))
    assert mode(tmp_path) == 0o700


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("")
    with pytest.raises(OutputError):
        make_data_folder(Settings(data=tmp_path / "var"))


def test_two_services_never_run_on_one_folder(tmp_path: Path) -> None:
    with alone(tmp_path):
        with pytest.raises(ConfigurationError, match="runs on"), alone(tmp_path):
            pass
        with pytest.raises(ConfigurationError), alone(tmp_path):
            pass
    with alone(tmp_path):
        pass
