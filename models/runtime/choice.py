"""Which runtime runs a package: the one that is named, else the fastest that this machine has."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from types import MappingProxyType
from typing import Protocol

from firstread.errors import RuntimeUnavailable
from firstread.processors import usable_processors
from models.package import Package
from models.runtime.onnx_runtime import OnnxRuntimeCpu, OnnxRuntimeCuda
from models.runtime.openvino_cpu import OpenVinoCpu
from models.runtime.protocol import Runtime


class _Opens(Protocol):
    def __call__(self, onnx: bytes, *, threads: int) -> Runtime: ...


# In the order of the automatic choice.
PROVIDERS: Mapping[str, _Opens] = MappingProxyType(
    {
        OnnxRuntimeCuda.provider: OnnxRuntimeCuda,
        OpenVinoCpu.provider: OpenVinoCpu,
        OnnxRuntimeCpu.provider: OnnxRuntimeCpu,
    }
)
# What people write for them.
_SHORT = {
    "cuda": OnnxRuntimeCuda.provider,
    "openvino": OpenVinoCpu.provider,
    "cpu": OnnxRuntimeCpu.provider,
}


def open_runtime(
    package: Package, provider: str | None = None, *, threads: int | None = None
) -> Runtime:
    """Load the network of a package's first stage.

    Parameters
    ----------
    package
        Its weights are checked again: the very bytes that are hashed are loaded.
    provider
        A key of :data:`PROVIDERS`, or ``cuda``, ``openvino``, ``cpu``; None tries them in order.
    threads
        None takes all processors that this process may use. Results do not depend on it.

    Raises
    ------
    RuntimeUnavailable
        ``runtime-unavailable``: not installed, no device, an unknown name, or two builds of ONNX
        Runtime in one environment.
    PackageDamaged
        ``package-damaged``: the weights are not those that were listed.
    """
    _refuse_two_builds()
    wanted = _SHORT.get(provider, provider) if provider else None
    if wanted is not None and wanted not in PROVIDERS:
        raise RuntimeUnavailable(
            f"there is no provider {provider!r}", advice="choose one of " + ", ".join(PROVIDERS)
        )
    onnx = package.file_bytes(package.description.stages[0].file)
    threads = threads or usable_processors()
    refused = []
    for name in [wanted] if wanted else _automatic():
        try:
            return PROVIDERS[name](onnx, threads=threads)
        except ModuleNotFoundError as error:
            refused.append(
                RuntimeUnavailable(
                    f"{name} is not installed ({error.name} is missing)",
                    advice="in the clone: pip install -e '.[cpu]', or '.[gpu]' for CUDA",
                )
            )
        except RuntimeUnavailable as error:
            refused.append(error)
    raise refused[-1]


def _automatic() -> list[str]:
    """Return the providers to try; CUDA only where its build is installed, to spare an import."""
    has_cuda_build = _is_installed("onnxruntime-gpu")
    return [name for name in PROVIDERS if has_cuda_build or name != OnnxRuntimeCuda.provider]


def _refuse_two_builds() -> None:
    """Refuse an environment with both builds: they write one folder, over each other."""
    both = ("onnxruntime", "onnxruntime-gpu")
    if all(_is_installed(name) for name in both):
        raise RuntimeUnavailable(
            "onnxruntime and onnxruntime-gpu are both installed: which one loads is chance",
            advice="pip uninstall "
            + " ".join(both)
            + ", then in the clone: pip install -e '.[cpu]' or '.[gpu]'",
        )


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
