"""The port of engines: store keys in, results that are durable in the store out.

========= ======================= =========================== ==================================
engine    the analysis runs in    a crash of the analysis     module
========= ======================= =========================== ==================================
inline    the worker's process    ends the worker             ``serving.jobs.inline``
ray       a replica of Ray Serve  is ``EngineLost``           ``serving.jobs.ray_engine``
========= ======================= =========================== ==================================

Keys travel, never arrays: whoever analyses reads the slices in any case. Everything here can be
sent to another process. Our queue stays in front and never gives an engine more than ``slots``
studies at a time, so an engine needs no order and no queue of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from firstread.errors import FirstreadError


@dataclass(frozen=True, slots=True)
class AnalysisRequest:
    """One study to analyse.

    Attributes
    ----------
    store_folder
        Root of the store, as whoever analyses sees it.
    objects
        Keys (SHA-256) of the study's images, sorted.
    package
        As on the command line: ``NAME[@VERSION]`` or a folder; None: the newest that ships.
    threads
        None: all processors of the process. No byte of a result depends on it.
    """

    store_folder: Path
    objects: tuple[str, ...]
    study_uid: str
    package: str | None
    operating_point: str
    threads: int | None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a result, durable in the store."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Analysed:
    """The end of an analysis, scored or not.

    Attributes
    ----------
    document
        The content of ``findings.json``.
    files
        By name: ``findings.json`` always; ``sr.dcm``, ``seg.dcm``, ``key_images/<n>.png`` where
        there are any.
    """

    document: Mapping[str, Any]
    files: Mapping[str, StoredFile]


class EngineLost(FirstreadError):
    """Whoever analysed is gone: nothing is known of the study, it goes back to the queue."""

    code = "engine-lost"
    http_status = 503


class Engine(Protocol):
    """What analyses studies."""

    @property
    def name(self) -> str:
        """``inline`` or ``ray``."""
        ...

    @property
    def slots(self) -> int:
        """How many calls of :meth:`analyse` it takes at the same time."""
        ...

    def analyse(self, request: AnalysisRequest) -> Analysed:
        """Analyse one study; returns when its results are durable. Safe to call from threads.

        Raises
        ------
        EngineLost
            ``engine-lost``
        FirstreadError
            What else can go wrong with one study, each with its code.
        """
        ...

    def healthy(self) -> bool:
        """Whether it would take a study now; answers at once."""
        ...

    def close(self) -> None:
        """End it; running calls may be lost."""
        ...
