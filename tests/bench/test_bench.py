"""The bench measures what it says: medians, limits, operations, a child's child's memory."""

import subprocess
import sys

import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.bench.flops import convolution_flops
from tests.bench.limits import limits
from tests.bench.machine import Rates
from tests.bench.ours import DetectionSteps
from tests.bench.parts import Part, Stage, Stopwatch, run_part
from tests.bench.table import Target, medians, stage_table, target_table

RATES = Rates(
    copy_bytes_s=1e10,
    file_bytes_s=2e9,
    opened_files_s=1e4,
    written_bytes_s=1e9,
    deflated_bytes_s=3e7,
    flops_s=1e11,
)
FACTS = {
    "files": 300,
    "voxels": [300, 512, 512],
    "network_shape": [1, 1, 256, 192, 256],
    "network_flops": 5e10,
    "output_bytes": 10**8,
    "written_bytes": 10**7,
    "picture_bytes": 10**7,
}


def part(**wall_s: float) -> Part:
    return Part(tuple(Stage(name, s, 2 * s, round(1e8 * s)) for name, s in wall_s.items()), {})


def test_a_stage_is_the_median_of_its_runs_and_a_slow_run_does_not_move_it() -> None:
    (stage,) = medians([part(read=1.0), part(read=90.0), part(read=2.0)])
    assert (stage.wall_s, stage.cpu_s, stage.peak_bytes) == (2.0, 4.0, 200_000_000)


def test_the_network_is_limited_by_its_operations_and_the_pixels_by_their_bytes() -> None:
    found = limits(FACTS, RATES, None)
    assert found["network"].seconds == pytest.approx(0.5)
    assert found["pixels"].seconds == pytest.approx(300 * 512 * 512 * 2 / 2e9)


def test_compressed_pixels_are_limited_by_their_decoder() -> None:
    assert limits(FACTS, RATES, 0.005)["pixels"].seconds == pytest.approx(1.5)


def test_a_missed_target_stands_beside_what_was_asked() -> None:
    rows = target_table([Target("read", 1.0, 1.2, "s"), Target("read", 1.0, 0.9, "s")])
    assert "| read | 1 s | 1.20 s | **missed** |" in rows
    assert "| read | 1 s | 0.90 s | met |" in rows


def test_the_total_stands_last_and_the_parts_of_the_detection_for_it() -> None:
    rows = stage_table(medians([part(total=9.0, read=1.0, detect=3.0, network=2.0)]), {})
    names = [row.split("|")[1].strip() for row in rows.splitlines()[2:]]
    assert names == ["read", "network", "total"]


def test_the_steps_of_the_detection_become_three_stages() -> None:
    watch = Stopwatch()
    told = DetectionSteps(watch)
    told("pixels", 1, 300)
    for done in range(4):
        told("detect", done, 3)
    assert [span.name for span in watch.spans] == ["resample", "network", "decode"]


@pytest.mark.parametrize(("stride", "voxels"), [(1, 8**3), (2, 4**3)])
def test_operations_are_counted_at_the_shape_that_runs(stride: int, voxels: int) -> None:
    import numpy as np

    weights = numpy_helper.from_array(np.zeros((4, 1, 3, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], strides=[stride] * 3, pads=[1] * 6)
    volume = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, "z", "y", "x"])
    heat = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, None, None, None])
    model = helper.make_model(helper.make_graph([node], "one", [volume], [heat], [weights]))
    onnx.checker.check_model(model)
    flops = convolution_flops(model.SerializeToString(), (1, 1, 8, 8, 8))
    assert flops == 2 * voxels * 4 * 27


def test_memory_and_cpu_of_a_childs_child_are_seen() -> None:
    part = run_part("tests.bench.example", [])
    (stage,) = part.stages
    assert stage.peak_bytes > 200_000_000
    assert stage.cpu_s > 0.2
    assert part.facts == {"python": sys.version_info.major}


def test_a_part_that_fails_is_no_figure() -> None:
    with pytest.raises(RuntimeError, match="ended with"):
        run_part("tests.bench.no_such_part", [])


@pytest.mark.timeout(60)
def test_a_part_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.parts.LIMIT_S", 0.1)
    with pytest.raises(subprocess.TimeoutExpired):
        run_part("tests.bench.example", ["for-ever"])
    running = [" ".join(one.cmdline()) for one in psutil.Process().children(recursive=True)]
    assert not any("tests.bench.example" in line for line in running)
