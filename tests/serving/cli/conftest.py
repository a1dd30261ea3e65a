"""A command line that runs in this process, a package and a series that it accepts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.cli import commands
from tests.builders import a_phantom, phantom_folder
from tests.packages import blob_network, make_package

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run_once(*words: object) -> tuple[int, str, str]:
        code = commands.run([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run_once


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # The small chest of the tests has pixels of 1.4 mm.
    contract = {"max_pixel_spacing_mm": 1.5, "min_lung_volume_ml": 300.0}
    # A brighter threshold than usual: only the nodule is found, not half of the chest wall.
    network = blob_network(bright_at=0.68)
    root = tmp_path_factory.mktemp("packages")
    return make_package(root, network, input_contract=contract).folder


@pytest.fixture(scope="module")
def series() -> Path:
    return phantom_folder(a_phantom((14.0,), 2.5))
