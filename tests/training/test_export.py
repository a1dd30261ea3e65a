"""From a network to a package that serving loads."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from firstread.errors import OutputExists
from models.package import Package
from models.runtime import open_runtime
from tests.packages import describe
from tests.training.test_configuration import SHIPPED
from tests.training.test_operating_points import a_group
from training.card import CardFacts, write_card
from training.configuration import read_configuration
from training.export import ONNX_FILE, Parity, check_parity, stage, to_onnx, write_package
from training.network import LungNoduleNet
from training.operating_points import Expected, Platt
from training.packaging import describe as describe_run
from training.packaging import set_points
from training.preparation import DataItem, Prepared
from training.validation import Ranked


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """Random weights and statistics: batch norms that did nothing would hide a fault in folding."""
    torch.manual_seed(5)
    made = LungNoduleNet((8, 8, 8, 8, 8))
    for name, buffer in made.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            nn.init.uniform_(buffer, 0.5, 1.5)
    return made.eval()


@pytest.fixture(scope="module")
def onnx(network: nn.Module) -> bytes:
    return to_onnx(network)


def a_package(folder: Path, onnx: bytes, **changes: object) -> Package:
    description = describe("made", "1.2.3", {}) | {"stages": [stage(PREPROCESSING)]} | changes
    del description["files"]
    return write_package(folder / "made" / "1.2.3", onnx, "# A card\n", description)


PREPROCESSING = {
    "spacing_mm": 1.25,
    "hu_window": [-1000, 400],
    "region": "lungs",
    "margin_mm": 12,
    "orientation": "LPS",
    "size_multiple": 32,
}


def test_the_exported_network_says_what_the_trained_one_says(
    network: nn.Module, onnx: bytes
) -> None:
    parity = check_parity(network, onnx, seed=1)
    assert parity.largest < 1e-4


def test_another_network_is_not_taken_for_the_exported_one(network: nn.Module, onnx: bytes) -> None:
    torch.manual_seed(6)
    with pytest.raises(ArithmeticError, match="differs"):
        check_parity(LungNoduleNet((8, 8, 8, 8, 8)), onnx, seed=1)


def test_serving_runs_it_on_boxes_of_any_size(onnx: bytes, tmp_path: Path) -> None:
    runtime = open_runtime(a_package(tmp_path, onnx), "onnxruntime-cpu", threads=1)
    for shape in ((32, 64, 96), (64, 32, 32)):
        outputs = runtime.run(np.zeros((1, 1, *shape), np.float32))
        cells = tuple(side // 2 for side in shape)
        assert {name: array.shape for name, array in outputs.items()} == {
            "heat": (1, 1, *cells),
            "offset": (1, 3, *cells),
            "log_diameter": (1, 1, *cells),
            "mask": (1, 8, *cells),
        }


def test_a_version_is_never_overwritten(onnx: bytes, tmp_path: Path) -> None:
    first = a_package(tmp_path, onnx)
    with pytest.raises(OutputExists, match="there already"):
        a_package(tmp_path, onnx + b"\0")
    assert first.file_bytes(ONNX_FILE) == onnx


def test_a_package_that_serving_would_refuse_is_not_left_behind(
    onnx: bytes, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match="floor"):
        a_package(tmp_path, onnx, floor=0.99)
    assert not (tmp_path / "made" / "1.2.3").exists()
    assert list((tmp_path / "made").iterdir()) == []


def test_the_description_of_a_run_is_a_valid_package(onnx: bytes, tmp_path: Path) -> None:
    configuration = read_configuration(SHIPPED)
    groups = [
        a_group([3.0, 2.0, 1.0, -np.inf], list(np.linspace(-6, 1, 120)), 10),
        a_group([2.0, 0.5], list(np.linspace(-6, 0, 90)), 10),
    ]
    measured = set_points(configuration, groups)
    prepared = Prepared((), (), (DataItem("lidc-idri-0001", "1.2.3", "0" * 64),))
    package = write_package(
        tmp_path / "lung_nodule" / "1.0.0", onnx, "# A card\n",
        describe_run(configuration, prepared, "run", measured),
    )  # fmt: skip
    points = package.description.operating_points
    assert list(points) == ["high_sensitivity", "balanced", "few_alerts"]
    assert points["high_sensitivity"].threshold <= points["balanced"].threshold
    assert points["balanced"].threshold <= points["few_alerts"].threshold
    assert package.description.floor <= points["high_sensitivity"].threshold
    assert all("nodules" in point.measured_on for point in points.values())


def test_the_card_names_data_licences_seed_and_what_was_not_measured() -> None:
    configuration = read_configuration(SHIPPED)
    facts = CardFacts(
        [DataItem("lidc-idri-0001", "1.2.840.1", "ab" * 32)],
        "firstread 0.1.0", "f" * 32, 16000, 45.0,
        {"total": 1.0}, Parity((96, 64, 128), {"heat": 1e-6}),
        Platt(1.0, 0.0), {"balanced": (0.5, [Expected("phantoms", 72, 24, 0.97, 0.5)])},
        [Ranked("lidc-idri-0001", 1, 2.0, 0.8), Ranked("made", None, None, None)],
    )  # fmt: skip
    card = write_card(configuration, facts)
    for text in (
        "Not measured on unseen scans", "LIDC-IDRI (CC BY 3.0)", "QIN LUNG CT (CC BY 3.0)",
        "ab" * 32, "f" * 32, str(configuration.seed), "slices over 3.2 mm", "97.0% of 72 nodules",
        "| made | not among", "| lidc-idri-0001 | 1 | 0.881 | 0.8 |",
        configuration.ignored_regions.sha256,
    ):  # fmt: skip
        assert text in card
