"""From a trained network to a package on disk: ONNX, ``model.yaml`` and the card."""

import hashlib
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from firstread.errors import OutputExists
from models.package import Package, load_package
from training.network import OUTPUTS, STRIDE

ONNX_FILE, CARD_FILE = "detect.onnx", "card.md"
INPUT = "volume"
OPSET = 17
# Largest difference between the ONNX file and the network that was trained, in units of the
# outputs.
LARGEST_DIFFERENCE = 1e-4


@dataclass(frozen=True, slots=True)
class Parity:
    """How far ONNX Runtime's answers are from torch's, in f32."""

    shape_zyx: tuple[int, int, int]
    differences: Mapping[str, float]

    @property
    def largest(self) -> float:
        """Over all outputs."""
        return max(self.differences.values())


def to_onnx(network: nn.Module) -> bytes:
    """Return the network as ONNX with dynamic z, y and x.

    The older exporter traces: 15 times faster than the newer one, and it names the axes. BatchNorm
    is folded into the convolutions.
    """
    network.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    axes = {2: "z", 3: "y", 4: "x"}
    cells = {2: "z_cells", 3: "y_cells", 4: "x_cells"}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # Its deprecation is known (torch 2.9); the newer one is chosen when this one is gone.
        warnings.simplefilter("ignore", DeprecationWarning)
        path = Path(folder) / ONNX_FILE
        torch.onnx.export(
            network, (torch.zeros(1, 1, 64, 64, 64),), str(path), dynamo=False, opset_version=OPSET,
            input_names=[INPUT], output_names=list(OUTPUTS),
            dynamic_axes={INPUT: axes, **dict.fromkeys(OUTPUTS, cells)},
        )  # fmt: skip
        return path.read_bytes()


def check_parity(network: nn.Module, data: bytes, seed: int) -> Parity:
    """Compare ONNX Runtime with torch on noise of a shape that was not exported.

    Raises
    ------
    ArithmeticError
        They differ by 1e-4 or more.
    """
    import onnxruntime

    shape = (96, 64, 128)
    volume = np.random.default_rng(seed).uniform(-1, 1, (1, 1, *shape)).astype(np.float32)
    with torch.no_grad():
        ours = network.eval()(torch.from_numpy(volume))
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    theirs = session.run(list(OUTPUTS), {INPUT: volume})
    differences = {
        name: float(np.abs(mine.numpy() - other).max())
        for name, mine, other in zip(OUTPUTS, ours, theirs, strict=True)
    }
    parity = Parity(shape, differences)
    if parity.largest >= LARGEST_DIFFERENCE:
        raise ArithmeticError(f"ONNX Runtime differs from torch by {parity.largest:.2g}")
    return parity


def stage(preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    """Return the package's one stage, as ``model.yaml`` holds it."""
    return {
        "role": "detect",
        "file": ONNX_FILE,
        "preprocessing": dict(preprocessing),
        "output": "heat-map",
        "stride": STRIDE,
    }


def write_package(folder: Path, onnx: bytes, card: str, description: Mapping[str, Any]) -> Package:
    """Write a package whole or not at all, and load it as serving would.

    Parameters
    ----------
    folder
        ``<root>/<name>/<version>``; must not exist yet: a version is never changed.
    description
        The content of ``model.yaml`` without ``files``.

    Raises
    ------
    OutputExists
        ``output-exists``: that version is there already.
    """
    if folder.exists():
        raise OutputExists(
            f"{folder.parent.name} {folder.name} is there already",
            advice="a version is never changed: raise package.version in the configuration",
        )
    files = {ONNX_FILE: onnx, CARD_FILE: card.encode()}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    text = yaml.safe_dump(
        {**description, "files": hashes}, sort_keys=False, allow_unicode=True, width=100
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        part = Path(name) / folder.name
        part.mkdir(mode=0o755)
        for file, data in files.items():
            (part / file).write_bytes(data)
        (part / "model.yaml").write_text(text, "utf-8")
        load_package(part)
        part.rename(folder)
    return load_package(folder)
