"""What runs in a replica of Ray Serve: one process, one study at a time, everything warm.

Ray finds this class by its import name, so Firstread must be installed where replicas run, in the
same version as where the worker runs.
"""

import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving.jobs.engine import AnalysisRequest, StoredFile
from serving.jobs.ray_application import Plan

if TYPE_CHECKING:
    from serving.jobs.analysis import OpenObjects

# No study takes so long: an analysis that hangs in native code cannot be stopped in any other way.
ANALYSIS_S = 30 * 60.0
# Leaks of native libraries over long runs were not measured, so a process of them has an end.
MOST_STUDIES = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What a replica says of a study: which package it has used, and where the results are.

    The content of ``findings.json`` is in the store already, and not sent again.
    """

    package_sha256: str
    files: Mapping[str, StoredFile]


class ReplicaIsOld(Exception):
    """It has done its share; Ray Serve lets it finish and starts another."""


class AnalysisReplica:
    """Analyses one study at a time; Ray Serve makes as many of them as the plan says.

    Parameters
    ----------
    plan
        Loaded before the first study comes.
    open_objects
        Opens a store by its folder.
    """

    def __init__(self, plan: Plan, open_objects: "OpenObjects") -> None:
        # Here, because drivers import this module too, and they analyse nothing.
        from serving.jobs.analysis import Warm, warm_up

        self._warm = Warm(open_objects)
        self._analysed = 0
        warm_up(self._warm, plan.package, plan.operating_point, plan.threads)

    def analyse(self, request: AnalysisRequest) -> Answer:
        """Analyse one study; see :func:`serving.jobs.analysis.analyse_objects`."""
        from serving.jobs.analysis import analyse_objects

        watchdog = threading.Timer(ANALYSIS_S, os.kill, (os.getpid(), signal.SIGKILL))
        watchdog.daemon = True
        watchdog.start()
        try:
            package, _runtime = self._warm.load(request.package, request.threads)
            analysed = analyse_objects(request, self._warm)
        finally:
            watchdog.cancel()
            self._analysed += 1
        return Answer(package.sha256, analysed.files)

    def check_health(self) -> None:
        """Tell Ray Serve whether this replica may stay; asked every second.

        It does not infer: that would wait behind a study.

        Raises
        ------
        ReplicaIsOld
            After :data:`MOST_STUDIES`.
        """
        if self._analysed >= MOST_STUDIES:
            raise ReplicaIsOld
