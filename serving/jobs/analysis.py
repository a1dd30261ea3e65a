"""The one function that every engine runs: store keys in, durable results out.

The way is that of ``firstread analyse``, and so is every byte that comes out of it (timings
apart). What differs is what stays warm: the package is checked and the network loaded once for
each process.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from inference.dicom.reader import open_upload
from inference.dicom.scratch import scratch_folder
from inference.pipeline import Timings, analyse, check_operating_point
from inference.results.writing import write_results
from models.package import Package, load_package, locate
from models.runtime import Runtime, open_runtime
from serving.faults import point
from serving.jobs.engine import Analysed, AnalysisRequest, StoredFile
from serving.jobs.room import needing_room


class Stored(Protocol):
    """What a store says of an object."""

    @property
    def sha256(self) -> str:
        """Its key."""
        ...

    @property
    def size_bytes(self) -> int:
        """Its size."""
        ...


class Objects(Protocol):
    """What an analysis needs of a store."""

    def check(self, sha256: str) -> Path:
        """Return where an object lies after its bytes were hashed; an error if they changed."""
        ...

    def put_bytes(self, data: bytes) -> Stored:
        """Keep an object; it is durable when this returns."""
        ...


OpenObjects = Callable[[Path], Objects]


@dataclass(frozen=True, slots=True)
class _Loaded:
    package: Package
    runtime: Runtime


class Warm:
    """What a process keeps between analyses: stores, the package, its network.

    Parameters
    ----------
    open_objects
        Opens a store by its folder.
    """

    def __init__(self, open_objects: OpenObjects) -> None:
        self._open_objects = open_objects
        self._objects: dict[Path, Objects] = {}
        self._loaded: dict[tuple[str | None, int | None], _Loaded] = {}
        self._lock = threading.Lock()

    def objects(self, folder: Path) -> Objects:
        """Return the store of a folder."""
        with self._lock:
            if folder not in self._objects:
                self._objects[folder] = self._open_objects(folder)
            return self._objects[folder]

    def load(self, package: str | None, threads: int | None) -> tuple[Package, Runtime]:
        """Return a package and its network; slow the first time only.

        Raises
        ------
        PackageError
            ``package-missing``, ``package-damaged``, ``package-refused``, ``runtime-unavailable``
        """
        with self._lock:
            key = package, threads
            if key not in self._loaded:
                loaded = load_package(locate(package))
                self._loaded[key] = _Loaded(loaded, open_runtime(loaded, threads=threads))
            return self._loaded[key].package, self._loaded[key].runtime


def warm_up(warm: Warm, package: str | None, operating_point: str, threads: int | None) -> None:
    """Load everything that an analysis needs, so that the first study waits for nothing.

    Raises
    ------
    PackageError
        See :meth:`Warm.load`.
    UsageError
        ``usage``: the package has no such operating point.
    """
    # Imported by the first study that needs them otherwise: half a second.
    import inference.results.seg
    import inference.results.sr  # noqa: F401

    loaded, _runtime = warm.load(package, threads)
    check_operating_point(loaded, operating_point)


def analyse_objects(request: AnalysisRequest, warm: Warm) -> Analysed:
    """Analyse one study of the store and keep its results there.

    The same request gives the same bytes in every process (timings apart), so doing it twice is
    harmless.

    Raises
    ------
    NoRoom
        ``no-room``: the machine lacks disk, memory or open files, which is not the study's fault.
    ObjectDamaged
        ``object-damaged``: an image is no longer what was acknowledged; nothing is scored then.
    FirstreadError
        What ``firstread analyse`` may say of one study or of the package.
    """
    with needing_room():
        return _analyse(request, warm)


def _analyse(request: AnalysisRequest, warm: Warm) -> Analysed:
    objects = warm.objects(request.store_folder)
    package, runtime = warm.load(request.package, request.threads)
    # After the load: what was warm already took no time of this study.
    timings = Timings()
    with scratch_folder() as folder:
        out = folder / "out"
        with timings.stage("check"):
            paths = [objects.check(sha256) for sha256 in request.objects]
        with ExitStack() as resources:
            with timings.stage("read"):
                upload = resources.enter_context(open_upload(paths))
            analysis = analyse(
                upload,
                package,
                lambda: runtime,
                operating_point=request.operating_point,
                study_uid=request.study_uid,
                progress=_passing,
                timings=timings,
            )
            document = write_results(analysis, out)
        files = _keep(out, document, objects)
    point("after-sr")
    return Analysed(document, files)


def _keep(out: Path, document: Mapping[str, Any], objects: Objects) -> dict[str, StoredFile]:
    listed = document["files"]
    names = ["findings.json", listed["sr"], listed["seg"], *listed["key_images"]]
    kept = {}
    for name in filter(None, names):
        stored = objects.put_bytes((out / name).read_bytes())
        kept[name] = StoredFile(stored.sha256, stored.size_bytes)
    return kept


def _passing(stage: str, done: int, total: int) -> None:
    # After the network has run and before anything is measured.
    if stage == "detect" and done == 2:
        point("mid-inference")
