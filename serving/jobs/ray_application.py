"""The application of Ray Serve whose replicas analyse: deploy it, look at it, remove it.

Everything here speaks to the Ray that this process is connected to.
"""

import importlib.util
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from firstread.errors import ConfigurationError, ServiceUnreachable

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

Value = TypeVar("Value")

APPLICATION = "firstread"
DEPLOYMENT = "analysis"
NAMESPACE = "firstread"

# A call that is answered in milliseconds; one that is not in so long will never be.
STATE_S = 20.0
REACH_S = 5.0
CONNECT_S = 60.0
# Until all replicas have their package warm, on a busy machine.
DEPLOY_S = 300.0
POLL_S = 0.25
# A replica that is told to go finishes its study first.
DRAIN_S = 15 * 60.0
# Serve finds a dead replica only by looking; with its own 10 s a place stays empty for so long.
HEALTH_EVERY_S = 1.0
HEALTH_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run.

    Attributes
    ----------
    replicas
        Studies that are analysed at the same time.
    threads
        Of each analysis; Ray reserves as many processors for each replica.
    package
        ``name@version`` or a folder, the same on every node.
    """

    replicas: int
    threads: int
    package: str
    operating_point: str


@dataclass(frozen=True, slots=True)
class State:
    """How the application is.

    Attributes
    ----------
    status
        In Ray Serve's words: ``RUNNING``, ``DEPLOYING``, ``UNHEALTHY``, ``DEPLOY_FAILED``,
        ``DELETING``; ``ABSENT`` where there is none.
    replicas
        How many are in which state (``RUNNING``, ``STARTING``, ...).
    message
        What Ray Serve adds.
    """

    status: str
    replicas: Mapping[str, int]
    message: str

    @property
    def is_usable(self) -> bool:
        """Whether calls are answered, or will be without anybody's help."""
        return self.status in ("RUNNING", "DEPLOYING", "UNHEALTHY")


@dataclass(frozen=True, slots=True)
class PackageIdentity:
    """A package as it is named to a replica, and as a replica must name it in its answer."""

    reference: str
    sha256: str


def identify(package: str | None) -> PackageIdentity:
    """Return a package's full name: "the newest" may be another one where a replica runs.

    Raises
    ------
    PackageError
        ``package-missing``, ``package-damaged``
    """
    from models.package import load_description, locate

    folder = locate(package)
    found = load_description(folder)
    is_path = package is not None and ("/" in package or "\\" in package)
    return PackageIdentity(str(folder.absolute()) if is_path else found.reference, found.sha256)


def ray_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return what must stand in the environment before Ray is imported, whatever the cluster.

    Parameters
    ----------
    given
        The environment: how a driver proves itself to an existing cluster may be said there.
    """
    return {
        "RAY_AUTH_MODE": given.get("RAY_AUTH_MODE", "token"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def require_ray() -> None:
    """Say in one line when Ray is not installed.

    Raises
    ------
    ConfigurationError
        ``configuration``
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigurationError(
            "FIRSTREAD_ENGINE: Ray is not installed here",
            advice="in the clone: pip install -e '.[cpu,ray]'; or use the engine inline",
        )


def import_ray() -> None:
    """Import Ray and Ray Serve for the first time, and keep our log as it is.

    Ray adds a value to every line; Ray Serve sets its own level and writes lines of its own.
    """
    factory = logging.getLogRecordFactory()
    import ray.serve  # noqa: F401

    logging.setLogRecordFactory(factory)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)


def connect(address: str) -> None:
    """Connect this process to an existing cluster, of which this machine is a node.

    Parameters
    ----------
    address
        ``host:port`` of its head, or ``auto`` for the one that runs here.

    Raises
    ------
    ServiceUnreachable
        ``unreachable``: nobody answers, or not to our token.
    ConfigurationError
        ``configuration``: no address, or no token.
    """
    require_ray()
    _reach(address)
    os.environ.update(ray_environment(os.environ))
    import_ray()
    import ray

    def init() -> None:
        ray.init(
            address=address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )

    try:
        with_deadline(init, CONNECT_S)
    except ray.exceptions.AuthenticationError as error:
        raise ConfigurationError(
            f"there is no token for the Ray cluster at {address}",
            advice="set RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH to a file that holds it; for a "
            "cluster without tokens RAY_AUTH_MODE=disabled",
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            f"FIRSTREAD_RAY_ADDRESS: {address!r} is no address", advice="write host:port, or auto"
        ) from error
    except (OSError, RuntimeError, ray.exceptions.RayError) as error:
        raise _unreachable(address) from error


def deploy(plan: Plan, open_objects: Callable[[Path], Any]) -> "DeploymentHandle[Any]":
    """Deploy or update the application; returns when all replicas are warm.

    While an update goes on, replicas of both plans answer.

    Parameters
    ----------
    open_objects
        Opens a store by its folder; importable where replicas run.

    Raises
    ------
    ServiceUnreachable
        ``unreachable``: the replicas did not start, or not in time.
    """
    from ray import serve

    from serving.jobs.ray_replica import AnalysisReplica

    quiet = {"enable_access_log": False, "log_level": "ERROR"}
    # No HTTP port: every call comes through a handle.
    serve.start(proxy_location="Disabled", logging_config=quiet)
    deployment = serve.deployment(
        name=DEPLOYMENT,
        num_replicas=plan.replicas,
        # The default is 5; each study uses all threads that it was given.
        max_ongoing_requests=1,
        ray_actor_options={"num_cpus": plan.threads},
        graceful_shutdown_timeout_s=DRAIN_S,
        health_check_period_s=HEALTH_EVERY_S,
        health_check_timeout_s=HEALTH_TIMEOUT_S,
        logging_config=quiet,
    )(AnalysisReplica)
    application = deployment.bind(plan, open_objects)
    target = serve.RunTarget(application, name=APPLICATION, route_prefix=None)
    serve.run_many([target], wait_for_applications_running=False)
    _wait_until_running()
    return handle()


def handle() -> "DeploymentHandle[Any]":
    """Return what calls the replicas."""
    from ray import serve

    return serve.get_app_handle(APPLICATION)


def state() -> State:
    """Look at the application.

    Raises
    ------
    ServiceUnreachable
        ``unreachable``: the cluster does not answer.
    """
    from ray import serve

    found = with_deadline(serve.status, STATE_S).applications.get(APPLICATION)
    if found is None:
        return State("ABSENT", {}, "")
    deployed = found.deployments.get(DEPLOYMENT)
    replicas = {str(name): n for name, n in deployed.replica_states.items()} if deployed else {}
    # Ray Serve appends tracebacks: the first line says what, the rest is in its own logs.
    message = " ".join(part.message for part in (found, deployed) if part and part.message)
    return State(found.status.value, replicas, message.partition("\n")[0])


def remove() -> None:
    """Remove the application; what runs is finished first. Ray itself and other applications stay.

    Raises
    ------
    ServiceUnreachable
        ``unreachable``: the cluster does not answer.
    """
    from ray import serve

    with_deadline(lambda: serve.delete(APPLICATION), DRAIN_S + STATE_S)


def with_deadline(call: Callable[[], Value], seconds: float) -> Value:
    """Call something of Ray that may hang for ever: most calls do when its control store is dead.

    Raises
    ------
    ServiceUnreachable
        ``unreachable``: no answer in time. The call still hangs, in a thread that ends with us.
    """
    outcome: list[Value] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="ray-call", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not outcome:
        raise ServiceUnreachable(
            f"Ray has not answered for {seconds:g} s", advice="look at the cluster with ray status"
        )
    return outcome[0]


def _wait_until_running() -> None:
    deadline = time.monotonic() + DEPLOY_S
    while True:
        now = state()
        if now.status == "RUNNING":
            return
        if now.status == "DEPLOY_FAILED" or time.monotonic() > deadline:
            raise ServiceUnreachable(
                f"the replicas did not start: {now.status}, {dict(now.replicas)} {now.message}",
                advice="each replica reserves as many processors as it has threads: are there so "
                "many, and is Firstread installed on every node?",
            )
        time.sleep(POLL_S)


def _reach(address: str) -> None:
    """Knock at the door: Ray itself tries for more than ten minutes before it gives up."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), REACH_S).close()
    except OSError as error:
        raise _unreachable(address) from error


def _unreachable(address: str) -> ServiceUnreachable:
    return ServiceUnreachable(
        f"no Ray cluster answers at {address}",
        advice="is it started, is this machine one of its nodes, is RAY_AUTH_TOKEN its token?",
    )
