"""ONNX Runtime: the reference on the processor, and CUDA."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstread.errors import RuntimeUnavailable
from models.runtime.processor import describe_processor
from models.runtime.protocol import Outputs

_CUDA = "CUDAExecutionProvider"
# TF32 keeps 10 bits of mantissa: worse than the 1e-4 that is promised. The default search for the
# fastest convolution depends on the machine's load, so the result would.
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


class OnnxRuntimeCpu:
    """A network in ONNX Runtime on the processor; see :class:`models.runtime.Runtime`."""

    provider = "onnxruntime-cpu"
    precision = "f32"

    def __init__(self, onnx: bytes, *, threads: int) -> None:
        """Load; raises ImportError where ONNX Runtime is not installed."""
        import onnxruntime

        self.version = str(onnxruntime.__version__)
        self.processor = describe_processor()
        self._session = _open(onnx, threads, ["CPUExecutionProvider"])

    def run(self, volume: NDArray[np.float32]) -> Outputs:
        """Run the network once; see :meth:`models.runtime.Runtime.run`."""
        return _run(self._session, volume)


class OnnxRuntimeCuda:
    """A network in ONNX Runtime on a CUDA device; see :class:`models.runtime.Runtime`."""

    provider = "onnxruntime-cuda"
    precision = "f32"

    def __init__(self, onnx: bytes, *, threads: int) -> None:
        """Load.

        Raises
        ------
        ImportError
            ONNX Runtime is not installed.
        RuntimeUnavailable
            ``runtime-unavailable``: installed without CUDA, or there is no usable device.
        """
        import onnxruntime

        if _CUDA not in onnxruntime.get_available_providers():
            raise RuntimeUnavailable(
                "the installed ONNX Runtime has no CUDA provider",
                advice="in a new environment, in the clone: pip install -e '.[gpu]'",
            )
        self.version = str(onnxruntime.__version__)
        self.processor = "cuda"
        self._session = _open(onnx, threads, [(_CUDA, _CUDA_OPTIONS), "CPUExecutionProvider"])
        # Where CUDA cannot start, ONNX Runtime warns and goes on with the processor.
        if self._session.get_providers()[0] != _CUDA:
            raise RuntimeUnavailable(
                "ONNX Runtime could not start CUDA on this machine",
                advice="check the driver with nvidia-smi, or choose another --provider",
            )

    def run(self, volume: NDArray[np.float32]) -> Outputs:
        """Run the network once; see :meth:`models.runtime.Runtime.run`."""
        return _run(self._session, volume)


def _open(onnx: bytes, threads: int, providers: Sequence[Any]) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(onnx, options, providers=list(providers))


def _run(session: Any, volume: NDArray[np.float32]) -> Outputs:
    names = [output.name for output in session.get_outputs()]
    arrays = session.run(names, {session.get_inputs()[0].name: volume})
    return {name: np.asarray(array, np.float32) for name, array in zip(names, arrays, strict=True)}
