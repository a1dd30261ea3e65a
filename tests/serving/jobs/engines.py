"""Both engines on one store with small studies in it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.archive.store import Store
from serving.jobs.engine import Analysed, AnalysisRequest
from serving.studies.arrival import read_facts
from tests.serving.service.scene import a_copy, small_study


@dataclass(frozen=True)
class Shelf:
    """A store, and what was put into it."""

    store: Store

    def request(self, number: int = 0) -> AnalysisRequest:
        """Put a study there and ask for its analysis; each number is another study."""
        stored = [self.store.put_bytes(data) for data in a_copy(small_study(), number)]
        facts = read_facts(self.store.path(stored[0].sha256))
        return AnalysisRequest(
            store_folder=self.store.folder,
            objects=tuple(sorted(each.sha256 for each in stored)),
            study_uid=facts.study_uid,
            package=None,
            operating_point="balanced",
            threads=1,
        )

    def bytes_of(self, analysed: Analysed) -> dict[str, bytes]:
        """Return the files of a result; timings are no part of it."""
        files = {name: self.store.read(each.sha256) for name, each in analysed.files.items()}
        files["findings.json"] = _without_timings(json.loads(files["findings.json"]))
        return files


def a_shelf(folder: Path) -> Shelf:
    return Shelf(Store(folder / "store"))


def document_of(analysed: Analysed) -> bytes:
    return _without_timings(dict(analysed.document))


def _without_timings(document: dict[str, Any]) -> bytes:
    del document["timings_s"]
    return json.dumps(document, ensure_ascii=False, sort_keys=True).encode()


@dataclass
class Counted:
    """Stands before the handle of an application and counts calls in flight."""

    handle: Any
    in_flight: int = 0
    most: int = 0

    @property
    def analyse(self) -> "Counted":
        return self

    def remote(self, request: AnalysisRequest) -> Any:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        return _Response(self.handle.analyse.remote(request), self._ended)

    def _ended(self) -> None:
        self.in_flight -= 1


@dataclass
class _Response:
    response: Any
    ended: Callable[[], None]

    def result(self, *, timeout_s: float) -> Any:
        try:
            return self.response.result(timeout_s=timeout_s)
        finally:
            self.ended()
