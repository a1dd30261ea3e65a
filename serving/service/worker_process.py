"""The process of one worker: ``python -m serving.service.worker_process --name worker-1 ...``."""

import argparse
import logging
import os
import signal
import sys
import threading

from firstread.errors import FirstreadError
from serving.archive.store import Store
from serving.database.engine import open_engine, writing
from serving.jobs import workers
from serving.jobs.engine import Engine
from serving.service import logs
from serving.service.processes import die_with
from serving.service.worker import Place, Worker, threads_of
from serving.settings import Settings, read_settings
from serving.worklist.urgency import read_policy

log = logging.getLogger(__name__)


def main() -> None:
    """Run one worker until SIGTERM, or until it has done its share."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--owner", required=True)
    parser.add_argument("--parent", type=int, required=True)
    asked = parser.parse_args()
    die_with(asked.parent)
    settings = read_settings()
    logs.set_up(asked.name, settings.log)
    threading.excepthook = _end_with_a_bug
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _work(settings, asked.owner, stop)
    except FirstreadError as error:
        log.error("worker cannot work", extra={"error": error.code, "reason": error.message})
        sys.exit(error.exit_code)
    # Threads may still compute what was given back; nothing waits for them.
    os._exit(0)


def _work(settings: Settings, owner: str, stop: threading.Event) -> None:
    database = open_engine(settings.database_url)
    engine = _open_engine(settings)
    place = Place(
        settings,
        database,
        Store(settings.store_folder),
        read_policy(settings.urgency),
        engine,
        owner,
    )
    try:
        Worker(place, stop).run()
    finally:
        engine.close()
        with writing(database) as connection:
            workers.leave(connection, owner)


def _open_engine(settings: Settings) -> Engine:
    """Return the engine with everything loaded."""
    if settings.engine == "ray":
        from serving.jobs.ray_engine import open_ray_engine
        from serving.service.ray_plan import plan_of

        # A driver of Ray prints there what its raylet has to say, and that is no line of our log.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return open_ray_engine(plan_of(settings), Store, address=settings.ray_address)
    from serving.jobs.analysis import warm_up
    from serving.jobs.inline import InlineEngine

    engine = InlineEngine(Store)
    warm_up(engine.warm, settings.package, settings.operating_point, threads_of(settings))
    return engine


def _end_with_a_bug(raised: threading.ExceptHookArgs) -> None:
    """End the process: a worker without one of its threads looks alive and is not."""
    assert raised.exc_value is not None
    log.error("a bug ended the worker", exc_info=raised.exc_value)
    os._exit(1)


if __name__ == "__main__":
    main()
