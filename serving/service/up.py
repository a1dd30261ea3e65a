"""Everything that must be right before the service starts, and the start itself.

What is wrong is told at once, with an exit code: settings, rules of urgency, the database, the
model package, the port. Only then are processes started.
"""

import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from firstread.errors import ConfigurationError, OutputError
from firstread.messages import Language, sentence
from serving.accounts import demonstration
from serving.accounts.users import FIRST_ADMIN, ensure_first_admin
from serving.archive.store import Store
from serving.database.engine import open_engine, writing
from serving.database.migrate import migrate
from serving.service import logs
from serving.service.processes import child_environment
from serving.service.supervisor import Supervisor
from serving.settings import Settings, refuse_unknown
from serving.worklist.cautions import cautions
from serving.worklist.pools import ensure_default_pool
from serving.worklist.store import align_ranks
from serving.worklist.urgency import UrgencyPolicy, read_policy

log = logging.getLogger(__name__)

# More callers than this at one moment wait for their turn to connect.
BACKLOG = 2048
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def up(settings: Settings, tell: Callable[[str], None]) -> None:
    """Run the service until SIGTERM or SIGINT.

    Parameters
    ----------
    tell
        Told what a person must know: the first administrator's password, the address.

    Raises
    ------
    FirstreadError
        What is not right; nothing was started.
    """
    logs.set_up("up", settings.log)
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    refuse_unknown(os.environ)
    policy = read_policy(settings.urgency)
    tell_cautions(policy, tell)
    check_demonstration(settings)
    check_package(settings, policy)
    make_data_folder(settings)
    with alone(settings.data), listen(settings.host, settings.port) as listener:
        address = address_of(listener)
        database = open_engine(settings.database_url)
        migrate(database)
        with writing(database) as connection:
            align_ranks(connection, policy)
            ensure_default_pool(connection, time.time())
        store = Store(settings.store_folder)
        store.sweep()
        store.close()
        password = ensure_first_admin(database, time.time())
        if password is not None:
            tell(f"first log-in, shown once: {FIRST_ADMIN} / {password}")
        demonstration.revoke_demonstration_tokens(database, time.time())
        if settings.demonstration:
            demonstration.ensure_demonstration(database, time.time())
        log.info("starting", extra={"engine": settings.engine, "workers": settings.workers})
        supervisor = Supervisor(settings, database, listener, stop=stop)
        with ExitStack() as beside:

            def on_ready() -> None:
                tell(f"Firstread is ready: {address}")
                if settings.demonstration:
                    if not settings.is_for_others:
                        name, word = demonstration.NAME, demonstration.PASSWORD
                        tell(f"demonstration log-in, from this machine alone: {name} / {word}")
                    beside.enter_context(demonstrating(settings, address))

            supervisor.run(on_ready)
        database.dispose()


def tell_cautions(policy: UrgencyPolicy, tell: Callable[[str], None]) -> None:
    """Tell what in the rules of urgency lies outside of what the worklist was proved with."""
    for caution in cautions(policy):
        log.warning("rules of urgency", extra={"caution": caution.code, **caution.values})
        for language in Language:
            tell(sentence(f"urgency.caution.{caution.code}", language, **caution.values))


@contextmanager
def demonstrating(settings: Settings, address: str) -> Iterator[None]:
    """Send the demonstration studies from a process beside, until this context ends."""
    process = subprocess.Popen(  # noqa: S603  (our own interpreter and code)
        [
            *(sys.executable, "-m", "serving.service.demonstration_process"),
            *("--url", address, "--parent", str(os.getpid())),
        ],
        stdin=subprocess.DEVNULL,
        env=child_environment(settings, os.environ),
        process_group=0,
    )
    # Taken leave of when it ends, long before us.
    threading.Thread(target=process.wait, daemon=True).start()
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def check_demonstration(settings: Settings) -> None:
    """Refuse the log-in that everybody knows where others can reach it.

    Raises
    ------
    ConfigurationError
        ``configuration``
    """
    if settings.demonstration and settings.host not in LOOPBACK:
        raise ConfigurationError(
            f"the demonstration is for this machine alone, and {settings.host} is not",
            advice="leave out --demonstration, or listen on 127.0.0.1",
        )


def check_package(settings: Settings, policy: UrgencyPolicy) -> None:
    """Check the package that will score, file by file, and that it has what is asked of it.

    Raises
    ------
    PackageError
        ``package-missing``, ``package-damaged``, ``package-refused``
    ConfigurationError
        ``configuration``: it has not the operating point that scores, or that of the alerts.
    """
    from models.package import load_package, locate

    points = load_package(locate(settings.package)).description.operating_points
    asked = {
        "FIRSTREAD_OPERATING_POINT": settings.operating_point,
        f"{settings.urgency or 'urgency.yaml'}: ai_critical": policy.ai_critical.operating_point,
    }
    for by, point in asked.items():
        if point not in points:
            raise ConfigurationError(
                f"{by}: the package has no operating point {point!r}",
                advice="choose one of " + ", ".join(points),
            )


def make_data_folder(settings: Settings) -> None:
    """Make the folder of everything that is kept, for nobody else's eyes.

    Raises
    ------
    OutputError
        ``output-unwritable``
    """
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One that was there may have been made for everybody to look into.
        settings.data.chmod(0o700)
        writable = os.access(settings.data, os.W_OK | os.X_OK)
        reason = "no right to write"
    except OSError as error:
        writable, reason = False, error.strerror or "none found"
    if not writable:
        raise OutputError(
            f"{settings.data} cannot be written: {reason}",
            advice="name another folder with --data or FIRSTREAD_DATA",
        )


@contextmanager
def alone(data: Path) -> Iterator[None]:
    """Hold a data folder for this service: a second one would bury the workers of the first.

    The kernel lets go of the lock when the process ends, however that happens.

    Raises
    ------
    ConfigurationError
        ``configuration``: a service runs on it.
    """
    with (data / "up.lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"a service runs on {data} already",
                advice="stop it, or name another folder with --data or FIRSTREAD_DATA",
            ) from error
        yield


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises
    ------
    ConfigurationError
        ``configuration``: no such address here, or the port is taken.
    """
    try:
        kind, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(kind, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            advice="choose another with --port or --host; a service may be running there already",
        ) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """Return what to type into a browser on this machine."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
