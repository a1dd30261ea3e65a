"""Runtimes agree with each other, do not depend on threads, and say what they are."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from firstread.errors import PackageDamaged, RuntimeUnavailable
from firstread.processors import usable_processors
from models.runtime import PROVIDERS, Runtime, choice, open_runtime, processor
from models.runtime.onnx_runtime import OnnxRuntimeCpu
from models.runtime.openvino_cpu import OpenVinoCpu
from models.runtime.processor import describe_processor, has_amx
from tests.packages import blob_network, make_package, random_network

# The limits that the documentation promises, against ONNX Runtime in f32.
WORST_F32 = 1e-4
WORST_BF16_HEAT = 0.02
NEEDS_AMX = pytest.mark.skipif(not has_amx(), reason="no AMX")


def has_cuda() -> bool:
    try:
        distribution("onnxruntime-gpu")
    except PackageNotFoundError:
        return False
    return Path("/dev/nvidia0").exists()


def voxels(shape: tuple[int, int, int] = (64, 32, 96), seed: int = 1) -> NDArray[np.float32]:
    """Smooth noise in the range of a normalised chest."""
    noise = np.random.default_rng(seed).normal(-0.5, 4, shape)
    return np.clip(ndimage.gaussian_filter(noise, 1.5), -1, 1).astype(np.float32)[None, None]


REFERENCE = OnnxRuntimeCpu(random_network(), threads=1).run(voxels())


@pytest.mark.parametrize("name", ["openvino-cpu", "onnxruntime-cpu"])
def test_f32_agrees_with_the_reference(name: str) -> None:
    runtime: Runtime = (
        OpenVinoCpu(random_network(), threads=1, precision="f32")
        if name == "openvino-cpu"
        else PROVIDERS[name](random_network(), threads=2)
    )
    outputs = runtime.run(voxels())
    assert set(outputs) == {"heat", "offset", "log_diameter", "mask"}
    for output, array in outputs.items():
        assert array.dtype == np.float32
        assert np.abs(array - REFERENCE[output]).max() <= WORST_F32


@NEEDS_AMX
@pytest.mark.amx
def test_bf16_moves_no_heat_voxel_by_more_than_two_hundredths() -> None:
    outputs = OpenVinoCpu(random_network(), threads=1, precision="bf16").run(voxels())
    probabilities = [1 / (1 + np.exp(-maps["heat"])) for maps in (outputs, REFERENCE)]
    assert np.abs(probabilities[0] - probabilities[1]).max() <= WORST_BF16_HEAT


@pytest.mark.skipif(not has_cuda(), reason="no CUDA device")
@pytest.mark.gpu
def test_cuda_agrees_with_the_reference() -> None:
    outputs = PROVIDERS["onnxruntime-cuda"](random_network(), threads=1).run(voxels())
    for output, array in outputs.items():
        assert np.abs(array - REFERENCE[output]).max() <= WORST_F32


@pytest.mark.parametrize("name", ["openvino-cpu", "onnxruntime-cpu"])
@pytest.mark.parametrize("width", [16, 32])
def test_one_and_more_threads_give_the_same_bytes(name: str, width: int) -> None:
    network = random_network(2, width)
    first, *others = (PROVIDERS[name](network, threads=n).run(voxels()) for n in (1, 2, 3))
    for other in others:
        assert all(np.array_equal(first[output], other[output]) for output in first)


@pytest.mark.parametrize("name", ["openvino-cpu", "onnxruntime-cpu"])
def test_a_new_shape_and_an_old_one_again_give_what_they_gave_alone(name: str) -> None:
    runtime = PROVIDERS[name](random_network(), threads=2)
    runtime.run(voxels((32, 64, 32), seed=2))
    runtime.run(voxels((96, 32, 64), seed=3))
    alone = PROVIDERS[name](random_network(), threads=2).run(voxels())
    again = runtime.run(voxels())
    assert all(np.array_equal(alone[output], again[output]) for output in alone)


@pytest.mark.parametrize("name", ["openvino-cpu", "onnxruntime-cpu"])
def test_an_output_keeps_its_name_where_its_last_step_does_nothing(name: str) -> None:
    outputs = PROVIDERS[name](blob_network(gain=1.0), threads=1).run(voxels())
    assert {"heat", "offset", "log_diameter", "mask"} <= set(outputs)


@pytest.mark.parametrize("name", ["openvino-cpu", "onnxruntime-cpu"])
def test_results_of_one_run_survive_the_next(name: str) -> None:
    runtime = PROVIDERS[name](random_network(), threads=1)
    first = runtime.run(voxels())
    before = first["heat"].copy()
    runtime.run(voxels(seed=2))
    assert np.array_equal(first["heat"], before)


def test_openvino_takes_bf16_exactly_where_there_is_amx() -> None:
    assert OpenVinoCpu(random_network(), threads=1).precision == ("bf16" if has_amx() else "f32")


def test_the_automatic_choice_without_cuda_is_openvino(tmp_path: Path) -> None:
    if has_cuda():
        pytest.skip("no CUDA device is what this needs")
    runtime = open_runtime(make_package(tmp_path))
    assert runtime.provider == "openvino-cpu"
    assert runtime.version.startswith("20")
    assert runtime.processor == describe_processor()


@pytest.mark.parametrize("name", ["cpu", "onnxruntime-cpu"])
def test_a_named_provider_is_the_one_that_opens(tmp_path: Path, name: str) -> None:
    assert open_runtime(make_package(tmp_path), name, threads=1).provider == "onnxruntime-cpu"


@pytest.mark.skipif(has_cuda(), reason="needs a machine without CUDA")
def test_cuda_is_never_replaced_in_silence(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable) as caught:
        open_runtime(make_package(tmp_path), "cuda")
    assert caught.value.exit_code == 6
    assert ".[gpu]" in caught.value.advice


def test_an_unknown_provider_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable) as caught:
        open_runtime(make_package(tmp_path), "tpu")
    assert "openvino-cpu" in caught.value.advice


def test_weights_that_changed_after_loading_are_not_run(tmp_path: Path) -> None:
    package = make_package(tmp_path)
    (package.folder / "detect.onnx").write_bytes(random_network())
    with pytest.raises(PackageDamaged):
        open_runtime(package)


def test_two_builds_of_onnx_runtime_in_one_environment_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnxruntime", "onnxruntime_gpu"):
        folder = tmp_path / "site" / f"{name}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Name: {name.replace('_', '-')}\nVersion: 1.0\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(RuntimeUnavailable) as caught:
        open_runtime(make_package(tmp_path), "cpu")
    assert "uninstall" in caught.value.advice


def test_a_missing_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(RuntimeUnavailable, match="openvino") as caught:
        open_runtime(make_package(tmp_path), "openvino")
    assert ".[cpu]" in caught.value.advice
    assert open_runtime(make_package(tmp_path, version="1.0.1")).provider == "onnxruntime-cpu"


def test_without_a_number_all_processors_of_this_process_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []

    def opens(onnx: bytes, *, threads_seen: list[int] = threads, **options: int) -> Runtime:
        threads_seen.append(options["threads"])
        return OnnxRuntimeCpu(onnx, **options)

    monkeypatch.setattr(choice, "PROVIDERS", {"onnxruntime-cpu": opens})
    open_runtime(make_package(tmp_path), "onnxruntime-cpu")
    assert threads == [usable_processors()]


def test_the_processor_is_named_in_a_few_stable_words(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {
        "vendor_id": "AuthenticAMD", "cpu family": "25", "cpu MHz": "3245.1", "model": "17",
        "flags": "sse2 avx2 avx512f avx512_bf16 fma",
    }  # fmt: skip
    describe_processor.cache_clear()
    monkeypatch.setattr(processor, "_facts", lambda: facts)
    first = describe_processor()
    describe_processor.cache_clear()
    monkeypatch.setattr(processor, "_facts", lambda: facts | {"cpu MHz": "1500.0"})
    assert describe_processor() == first == "AuthenticAMD-25 avx2+avx512f+avx512_bf16"
    describe_processor.cache_clear()
