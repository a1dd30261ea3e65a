"""Packages made in a test's own folder: real ONNX networks with the outputs that serving expects.

No network here is trained: :func:`blob_network` computes how much brighter a place is than what
surrounds it (so it "finds" dense balls in air), :func:`random_network` has the structure and the
number ranges of a trained one.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from models.package import Package, load_package

STRIDE = 2
HU_WINDOW = (-1000.0, 400.0)


def make_package(
    root: Path,
    network: bytes | None = None,
    *,
    name: str = "test_nodule",
    version: str = "1.0.0",
    **changes: Any,
) -> Package:
    """Write ``root/<name>/<version>`` and load it.

    Parameters
    ----------
    network
        ONNX; the default is :func:`blob_network`.
    changes
        Keys of ``model.yaml`` to replace; a mapping replaces only the keys that it names.
    """
    folder = root / name / version
    folder.mkdir(parents=True)
    files = {"detect.onnx": network or blob_network(), "card.md": b"# A package for tests\n"}
    for file, data in files.items():
        (folder / file).write_bytes(data)
    hashes = {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}
    description = describe(name, version, hashes)
    for key, value in changes.items():
        merged = isinstance(value, dict) and isinstance(description.get(key), dict)
        description[key] = {**description[key], **value} if merged else value
    (folder / "model.yaml").write_text(yaml.safe_dump(description, sort_keys=False), "utf-8")
    return load_package(folder)


def describe(name: str, version: str, files: dict[str, str]) -> dict[str, Any]:
    """Return the content of a valid ``model.yaml``."""
    point = {
        "sensitivity": None,
        "false_positives_per_scan": None,
        "measured_on": "nothing: a test",
    }
    nodule = {"value": "27925004", "scheme": "SCT", "meaning": "Nodule"}
    abnormal = {
        "value": "49755003",
        "scheme": "SCT",
        "meaning": "Morphologically Abnormal Structure",
    }
    return {
        "schema": "firstread/package/1",
        "name": name,
        "version": version,
        "task": "detection",
        "labels": [{"name": "nodule", "category": abnormal, "type": nodule}],
        "stages": [
            {
                "role": "detect",
                "file": "detect.onnx",
                "preprocessing": {
                    "spacing_mm": 1.25,
                    "hu_window": list(HU_WINDOW),
                    "region": "lungs",
                    "margin_mm": 12.0,
                    "orientation": "LPS",
                    "size_multiple": 32,
                },
                "output": "heat-map",
                "stride": STRIDE,
            }
        ],
        "input_contract": {
            "modalities": ["CT"],
            "body_parts": ["CHEST", "LUNG", "THORAX"],
            "min_slices": 12,
            "max_slice_spacing_mm": 3.0,
            "max_pixel_spacing_mm": 1.2,
            "max_bridgeable_gap_mm": 6.0,
            "max_gantry_tilt_deg": 30.0,
            "max_obliquity_deg": 30.0,
            "min_lung_coverage": 0.9,
            "min_lung_volume_ml": 800.0,
            "min_age_years": 18.0,
            "min_bits_stored": 10,
            "max_hu_per_step": 4.0,
        },
        "calibration": {"scale": 1.0, "shift": 0.0, "measured_on": "nothing: a test"},
        "operating_points": {
            "high_sensitivity": {"threshold": 0.3, **point},
            "balanced": {"threshold": 0.5, **point},
            "few_alerts": {"threshold": 0.7, **point},
        },
        "floor": 0.05,
        "intended_use": {"zh": "测试用", "en": "For tests"},
        "intended_size": {"least_mm": 4.0, "most_mm": 40.0},
        "trained_on_series": [],
        "training_data": [],
        "licence": "Apache-2.0",
        "mlflow_run": "none",
        "files": files,
    }


@cache
def blob_network(*, gain: float = 10.0, bright_at: float = 0.55) -> bytes:
    """Return a network whose heat is the contrast of 3 cells against 9 cells around them.

    ``heat = gain * (contrast - bright_at)`` in units of half the HU window; ``log_diameter`` is
    that of a ball that holds what is denser than lung in the 9 cells; the mask is set above -425
    HU. With ``gain=0`` and ``bright_at=0`` everything is zero: a network without weights.
    """
    lung, dense, middle = -0.786, 0.457, -0.18
    parity = np.zeros((8, 1, 2, 2, 2), np.float32)
    parity.reshape(8, 8)[np.arange(8), np.arange(8)] = 20.0
    ball = float(np.log(6 * (9 * 2.5) ** 3 / np.pi)) / 3 - float(np.log(8.0))
    nodes = [
        helper.make_node(
            "AveragePool", ["volume"], ["cells"], kernel_shape=[2] * 3, strides=[2] * 3
        ),
        *_pool("cells", "near", 3),
        *_pool("cells", "far", 9),
        helper.make_node("Sub", ["near", "far"], ["contrast"]),
        helper.make_node("Sub", ["far", "lung"], ["excess"]),
        helper.make_node("Sub", ["contrast", "excess"], ["alone"]),
        helper.make_node("Sub", ["alone", "bright_at"], ["above"]),
        helper.make_node("Mul", ["above", "gain"], ["heat"]),
        helper.make_node("Conv", ["volume", "parity", "shift"], ["mask"], strides=[2] * 3),
        helper.make_node("Mul", ["cells", "zero"], ["nothing"]),
        helper.make_node("Concat", ["nothing"] * 3, ["offset"], axis=1),
        helper.make_node("Div", ["excess", "range"], ["filled"]),
        helper.make_node("Clip", ["filled", "least", "one"], ["share"]),
        helper.make_node("Log", ["share"], ["log_share"]),
        helper.make_node("Div", ["log_share", "three"], ["third"]),
        helper.make_node("Add", ["third", "ball"], ["log_diameter"]),
    ]
    weights = {
        "bright_at": bright_at, "gain": gain, "parity": parity, "shift": np.full(8, -20.0 * middle),
        "zero": 0.0, "lung": lung, "range": dense - lung, "least": 1e-3, "one": 1.0, "three": 3.0,
        "ball": ball,
    }  # fmt: skip
    return _model(nodes, weights)


@cache
def random_network(seed: int = 1, width: int = 16) -> bytes:
    """Return an encoder and decoder with BatchNorm and numbers of a usual size."""
    random = np.random.default_rng(seed)
    weights: dict[str, ArrayLike] = {"scales": np.array([1, 1, 2, 2, 2], np.float32)}
    nodes = [
        *_block(random, weights, "volume", "stem", 1, width, 2),
        *_block(random, weights, "stem", "down", width, 2 * width, 2),
        *_block(random, weights, "down", "deep", 2 * width, width, 1),
        helper.make_node("Resize", ["deep", "", "scales"], ["up"], mode="nearest"),
        helper.make_node("Add", ["stem", "up"], ["joined"]),
        *_block(random, weights, "joined", "features", width, width, 1),
    ]
    for output, channels in (("heat", 1), ("offset", 3), ("log_diameter", 1), ("mask", 8)):
        weights[f"{output}.w"] = random.normal(0, 1.5 / np.sqrt(width), (channels, width, 1, 1, 1))
        weights[f"{output}.b"] = random.normal(-1, 0.3, channels)
        nodes.append(helper.make_node("Conv", ["features", f"{output}.w", f"{output}.b"], [output]))
    return _model(nodes, weights)


def _block(
    random: np.random.Generator,
    weights: dict[str, ArrayLike],
    source: str,
    target: str,
    channels: int,
    width: int,
    stride: int,
) -> list[onnx.NodeProto]:
    """Convolution, BatchNorm with statistics as after training, ReLU."""
    spread = np.sqrt(2 / (27 * channels))
    weights[f"{target}.w"] = random.normal(0, spread, (width, channels, 3, 3, 3))
    weights[f"{target}.scale"] = random.uniform(0.5, 1.5, width)
    weights[f"{target}.shift"] = random.normal(0, 0.3, width)
    weights[f"{target}.mean"] = random.normal(0, 0.3, width)
    weights[f"{target}.var"] = random.uniform(0.3, 1.5, width)
    statistics = [f"{target}.{part}" for part in ("scale", "shift", "mean", "var")]
    return [
        helper.make_node(
            "Conv", [source, f"{target}.w"], [f"{target}.c"], strides=[stride] * 3, pads=[1] * 6
        ),
        helper.make_node("BatchNormalization", [f"{target}.c", *statistics], [f"{target}.n"]),
        helper.make_node("Relu", [f"{target}.n"], [target]),
    ]


def _pool(source: str, target: str, size: int) -> list[onnx.NodeProto]:
    """Mean over a cube, one axis after the other: a ninth of the work."""
    names = [source, f"{target}.z", f"{target}.y", target]
    return [
        helper.make_node(
            "AveragePool",
            [names[axis]],
            [names[axis + 1]],
            kernel_shape=[size if axis == k else 1 for k in range(3)],
            pads=[size // 2 if axis == k else 0 for k in range(3)] * 2,
            count_include_pad=0,
        )
        for axis in range(3)
    ]


def _model(nodes: list[onnx.NodeProto], weights: dict[str, Any]) -> bytes:
    sides = ["z", "y", "x"]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("volume", TensorProto.FLOAT, [1, 1, *sides])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, None, None, None])
            for name, channels in (("heat", 1), ("offset", 3), ("log_diameter", 1), ("mask", 8))
        ],
        [numpy_helper.from_array(np.asarray(v, np.float32), name) for name, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
