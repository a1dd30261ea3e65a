"""Several at once: threads that begin at the same moment, and what they raised."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine

from serving.database.engine import writing

Given = TypeVar("Given")
Result = TypeVar("Result")


def at_once(work: Callable[[Given], Result], given: Iterable[Given]) -> list[Result]:
    """Return what each returned; raises what one of them raised."""
    several = list(given)
    ready = threading.Barrier(len(several), timeout=30)

    def begin(one: Given) -> Result:
        ready.wait()
        return work(one)

    with ThreadPoolExecutor(len(several)) as pool:
        return list(pool.map(begin, several))


def while_open(
    engine: Engine, hold: Callable[[Connection], object], work: Callable[[], Result]
) -> Future[Result]:
    """Begin ``work`` in a thread while a transaction that did ``hold`` is open; then commit it.

    The thread has half a second: enough to look, and to wait for what is held.
    """
    with ThreadPoolExecutor(1) as pool, writing(engine) as connection:
        hold(connection)
        begun = pool.submit(work)
        threading.Event().wait(0.5)
        # The transaction ends first, then the thread is waited for.
    return begun
