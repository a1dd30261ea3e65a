"""The shipped network says the same on every CPU provider, and with every number of threads.

On whole lung boxes, because kernels are chosen by the shape: of a phantom, and of a real scan.
"""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.lungs import find_lungs
from inference.preprocess import network_grid, normalise, resample
from models.package import Package, find_package
from models.runtime.onnx_runtime import OnnxRuntimeCpu
from models.runtime.openvino_cpu import OpenVinoCpu
from models.runtime.processor import has_amx
from models.runtime.protocol import Outputs
from tests.builders import a_phantom
from tests.scans import a_scan
from tests.shared import needs_shared

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# What docs/models.md promises of the heat's probability, against ONNX Runtime in f32.
WORST_F32 = 1e-4
WORST_BF16 = 0.02
BOXES = pytest.mark.parametrize(
    "case", ["phantom", pytest.param("lidc-idri-0001", marks=needs_shared)]
)


@cache
def shipped() -> Package:
    return find_package()


@cache
def network() -> bytes:
    return shipped().file_bytes(shipped().description.stages[0].file)


@cache
def lung_box(case: str) -> NDArray[np.float32]:
    volume = a_phantom(slices=160).volume if case == "phantom" else a_scan(f"ct/{case}")
    lungs = find_lungs(volume)
    assert lungs is not None
    preprocessing = shipped().description.stages[0].preprocessing
    grid = network_grid(volume.grid, lungs.box_zyx, preprocessing)
    return normalise(resample(volume, grid), preprocessing)[None, None]


@cache
def reference(case: str) -> Outputs:
    return OnnxRuntimeCpu(network(), threads=1).run(lung_box(case))


def probability(outputs: Outputs) -> NDArray[np.float64]:
    calibration = shipped().description.calibration
    logit = calibration.scale * outputs["heat"].astype(np.float64) + calibration.shift
    return np.asarray(1 / (1 + np.exp(-logit)))


def worst(outputs: Outputs, case: str) -> float:
    return float(np.abs(probability(outputs) - probability(reference(case))).max())


@BOXES
def test_openvino_in_f32_moves_no_voxel_of_the_heat(case: str) -> None:
    outputs = OpenVinoCpu(network(), threads=1, precision="f32").run(lung_box(case))
    assert probability(outputs).max() > 0.01
    assert worst(outputs, case) <= WORST_F32


@pytest.mark.skipif(not has_amx(), reason="no AMX")
@pytest.mark.amx
@BOXES
def test_openvino_in_bf16_moves_no_voxel_of_the_heat_far(case: str) -> None:
    outputs = OpenVinoCpu(network(), threads=1, precision="bf16").run(lung_box(case))
    assert worst(outputs, case) <= WORST_BF16


@BOXES
def test_two_threads_of_openvino_give_the_bytes_of_one(case: str) -> None:
    one, two = (OpenVinoCpu(network(), threads=n).run(lung_box(case)) for n in (1, 2))
    assert {name: array.tobytes() for name, array in one.items()} == {
        name: array.tobytes() for name, array in two.items()
    }


@BOXES
def test_two_threads_of_onnx_runtime_give_the_bytes_of_one(case: str) -> None:
    two = OnnxRuntimeCpu(network(), threads=2).run(lung_box(case))
    assert {name: array.tobytes() for name, array in reference(case).items()} == {
        name: array.tobytes() for name, array in two.items()
    }
