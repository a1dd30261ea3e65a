"""What the processor is and can do, as far as it changes the numbers of a network."""

import platform
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# Kernels are chosen by these; two processors with the same set computed the same bytes.
_VECTOR_UNITS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")


@cache
def describe_processor() -> str:
    """Return vendor, family and the vector units that choose a kernel.

    For example ``GenuineIntel-6 avx2+avx512f+amx_bf16``; the machine's architecture where the
    system tells no more.
    """
    facts = _facts()
    units = [unit for unit in _VECTOR_UNITS if unit in _flags(facts)]
    vendor = facts.get("vendor_id", facts.get("CPU implementer", platform.machine() or "unknown"))
    name = "-".join(filter(None, (vendor, facts.get("cpu family", ""))))
    return f"{name} {'+'.join(units)}".strip()


def has_amx() -> bool:
    """Whether the processor multiplies bf16 matrices in tiles (AMX).

    Without it bf16 is no faster than f32, so it is not used.
    """
    return {"amx_tile", "amx_bf16"} <= _flags(_facts())


def _flags(facts: dict[str, str]) -> set[str]:
    return set(facts.get("flags", facts.get("Features", "")).split())


@cache
def _facts() -> dict[str, str]:
    """Return key -> value of the first processor; empty where there is no such file."""
    if not _CPUINFO.is_file():
        return {}
    first = _CPUINFO.read_text("utf-8", "replace").split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
