"""The engine ``ray``: studies are analysed by the replicas of a Ray Serve application.

The process that opens it is a driver of Ray and must not be the web process: a driver dies with
the raylet of its machine, without an exception. Ray's two central processes are watched; when one
of them is gone, nothing in this Ray becomes well again, so the driver ends, the supervisor starts
another one with another Ray, and its studies go back to the queue.

Ray Serve keeps no order and grows slow when calls pile up, so there are never more calls than
``slots``; our queue stays in front.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from firstread.errors import ServiceUnreachable
from serving.errors import Unavailable
from serving.jobs.engine import Analysed, AnalysisRequest, EngineLost
from serving.jobs.ray_application import (
    Plan,
    connect,
    deploy,
    handle,
    identify,
    state,
    with_deadline,
)
from serving.jobs.ray_local import LocalRay, start_local_ray

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

    from serving.jobs.analysis import OpenObjects
    from serving.jobs.ray_replica import Answer

log = logging.getLogger(__name__)

# Of a driver whose Ray is gone (EX_TEMPFAIL): the supervisor starts another one.
EXIT_LOST = 75
WATCH_S = 0.5
ASK_EVERY_S = 5.0
ASK_S = 20.0


class EngineUnavailable(EngineLost, Unavailable):
    """No replica has touched the study: it goes back to the queue, and the try does not count."""

    code = "engine-unavailable"
    http_status = 503


def end_driver(reason: str) -> None:
    """End this process at once: its Ray is gone, and calls to it may hang for ever."""
    log.error("ray is lost", extra={"reason": reason})
    logging.shutdown()
    os._exit(EXIT_LOST)


def open_ray_engine(
    plan: Plan,
    open_objects: "OpenObjects",
    *,
    address: str | None = None,
    on_lost: Callable[[str], None] = end_driver,
) -> "RayEngine":
    """Return the engine with its replicas warm: takes some fifteen seconds for a local Ray.

    Parameters
    ----------
    plan
        With an address: of the application that was deployed there, as far as this process's share
        of its replicas goes.
    open_objects
        Opens a store by its folder; importable where replicas run.
    address
        Of an existing cluster with the application deployed; None: a Ray of our own.
    on_lost
        Called with the reason, from a thread, when Ray is gone.

    Raises
    ------
    ServiceUnreachable
        ``unreachable``: no cluster, no application, or replicas that do not start.
    ConfigurationError
        ``configuration``: Ray is not installed, or the cluster wants another token.
    """
    if address is None:
        local = start_local_ray(plan.replicas * plan.threads)
        try:
            log.info("ray started", extra={"folder": str(local.folder)})
            return RayEngine(deploy(plan, open_objects), plan, open_objects, local, on_lost)
        except BaseException:
            local.close()
            raise
    connect(address)
    return RayEngine(*_find(plan), open_objects, None, on_lost)


class RayEngine:
    """See :class:`serving.jobs.engine.Engine`.

    Parameters
    ----------
    calls
        Handle of the application.
    local
        The Ray that ends with this engine; None: somebody else's.
    """

    name = "ray"

    def __init__(
        self,
        calls: "DeploymentHandle[Any]",
        plan: Plan,
        open_objects: "OpenObjects",
        local: LocalRay | None,
        on_lost: Callable[[str], None],
    ) -> None:
        # None more than there are replicas: a call that waits in Ray Serve costs (it looks for a
        # free replica again and again, with pauses of up to half a second) and was no faster; and
        # its study would count as being analysed.
        self.slots = plan.replicas
        self._calls = calls
        self._plan = plan
        self._open_objects = open_objects
        self._local = local
        self._on_lost = on_lost
        self._in_flight = threading.BoundedSemaphore(self.slots)
        self._is_lost = threading.Event()
        self._is_closing = threading.Event()
        self._watch = threading.Thread(target=self._watch_ray, name="ray-watch", daemon=True)
        self._watch.start()

    def analyse(self, request: AnalysisRequest) -> Analysed:
        """Analyse one study in a replica; waits while there are ``slots`` calls already.

        Raises
        ------
        EngineLost
            ``engine-lost``: the replica is gone; ``engine-unavailable``: there was none.
        FirstreadError
            As in the engine inline: what the replica raised.
        """
        package = identify(request.package)
        named = replace(
            request,
            package=package.reference,
            threads=request.threads or self._plan.threads,
        )
        with self._in_flight:
            answer = self._call(named)
        # Replicas of an older or newer installation may answer too, while a cluster is updated.
        if answer.package_sha256 != package.sha256:
            raise EngineLost(
                "a replica has used another package of that name",
                advice="install the same version of Firstread on every node",
            )
        objects = self._open_objects(request.store_folder)
        document = objects.check(answer.files["findings.json"].sha256).read_bytes()
        return Analysed(json.loads(document), answer.files)

    def healthy(self) -> bool:
        """Whether Ray answers; watched in a thread, so this returns at once."""
        return not (self._is_lost.is_set() or self._is_closing.is_set())

    def close(self) -> None:
        """End the engine, and its Ray where that is ours; of that nothing is left."""
        self._is_closing.set()
        self._watch.join(ASK_S)
        if self._local is not None:
            self._local.close()
            return
        import ray

        ray.shutdown()

    def _call(self, request: AnalysisRequest) -> "Answer":
        from ray.exceptions import RayError, RayTaskError
        from ray.serve.exceptions import (
            BackPressureError,
            DeploymentUnavailableError,
            RayServeException,
        )

        from serving.jobs.ray_replica import ANALYSIS_S

        response = None
        try:
            response = self._calls.analyse.remote(request)
            # A replica ends itself after ANALYSIS_S, and may have to be replaced first; so this
            # deadline is for what nobody has thought of.
            answer: Answer = response.result(timeout_s=2 * ANALYSIS_S)
        except RayTaskError as error:
            # What the analysis itself raised. Without the chain: its text names Ray's processes.
            raise error.cause from None
        except (BackPressureError, DeploymentUnavailableError) as error:
            raise EngineUnavailable(
                f"no replica takes a study: {type(error).__name__}",
                advice="firstread ray status shows how the replicas are",
            ) from None
        except (RayError, RayServeException, TimeoutError) as error:
            if response is not None:
                response.cancel()  # type: ignore[no-untyped-call]
            raise EngineLost(
                f"the replica is gone: {type(error).__name__}",
                advice="it is replaced by itself, and the study analysed again",
            ) from None
        return answer

    def _watch_ray(self) -> None:
        asked_s = time.monotonic()
        while not self._is_closing.wait(WATCH_S):
            reason = None
            if self._local is not None and not self._local.is_alive():
                reason = "a central process of Ray has ended"
            elif time.monotonic() - asked_s > ASK_EVERY_S:
                reason = _ask()
                asked_s = time.monotonic()
            if reason is not None and not self._is_closing.is_set():
                self._is_lost.set()
                self._on_lost(reason)
                return


def _ask() -> str | None:
    """Ask the control store, the object store and the controller; None: all of them answer."""
    import ray
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException

    def empty_calls() -> bool:
        ray.nodes()
        # Where the raylet is dead, this ends the process with status 1.
        ray.get(ray.put(None))
        return state().is_usable

    try:
        return None if with_deadline(empty_calls, ASK_S) else "the application is gone"
    except (RayError, RayServeException, ServiceUnreachable, OSError, RuntimeError) as error:
        return f"Ray does not answer: {type(error).__name__}"


def _find(plan: Plan) -> tuple["DeploymentHandle[Any]", Plan]:
    """Return the deployed application and what this process may use of it."""
    now = state()
    if not now.is_usable:
        raise ServiceUnreachable(
            f"the application is not on this Ray cluster: {now.status}",
            advice="deploy it with firstread ray deploy",
        )
    there = max(1, sum(now.replicas.values()))
    return handle(), replace(plan, replicas=min(plan.replicas, there))
