"""One tail of the log for all pages of a process, and a bounded queue for each.

    log (SQL) --every 0.2 s--> tail --> listener's queue --> one open page

The tail runs while somebody listens. A ping follows only on a successful look at the log, so a page
that hears pings is live, and one that hears none may say that it is not. Whoever falls behind, or
was away too long, is told to load everything anew.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from time import monotonic

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from serving.database.engine import reading
from serving.errors import Unavailable
from serving.events.log import Event, last_id, seen_since, tail

LOOK_EVERY_S = 0.2
PING_EVERY_S = 10.0
# Events that may wait for a page that does not take them, and those that are told again to a page
# that was away; more are cheaper to load anew.
MOST_WAITING = 200
MOST_TOLD_AGAIN = 200
MOST_AT_ONCE = 500

log = logging.getLogger(__name__)


class Signal(Enum):
    """What a listener may be told besides an event."""

    PING = "ping"
    RELOAD = "reload"
    END = "end"


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that a listener is told; ``position`` is the newest event that it now knows of."""

    position: int
    what: Event | Signal


@dataclass(eq=False, slots=True)
class Listener:
    """One open page.

    Attributes
    ----------
    site_id
        The only site whose events it may see; None: all.
    position
        The newest event that it may see and knows of.
    """

    site_id: int | None
    position: int = 0
    queue: asyncio.Queue[Told] = field(default_factory=lambda: asyncio.Queue(MOST_WAITING))

    def tell(self, what: Event | Signal) -> None:
        """Put into the queue; where it is full, everything in it gives way to one reload."""
        if isinstance(what, Event):
            if self.site_id is not None and what.site_id != self.site_id:
                return
            self.position = what.id
        if self.queue.full():
            while not self.queue.empty():
                self.queue.get_nowait()
            what = what if what is Signal.END else Signal.RELOAD
        self.queue.put_nowait(Told(self.position, what))


class Hub:
    """Gives events to the open pages of one process; used from its event loop alone."""

    def __init__(self, engine: Engine, *, ping_every_s: float = PING_EVERY_S) -> None:
        self.ping_every_s = ping_every_s
        self._engine = engine
        self._listeners: set[Listener] = set()
        self._tail: asyncio.Task[None] | None = None
        self._position = 0
        self._starting = asyncio.Lock()
        self._is_closed = False

    @asynccontextmanager
    async def listen(self, site_id: int | None, after: int) -> AsyncIterator[Listener]:
        """Listen to everything after an event.

        Parameters
        ----------
        after
            The newest event that the page knows of: what came since is told again, or a reload
            where that is too much, or where no such event ever was.
        """
        listener = Listener(site_id)
        # Two first listeners must not begin two tails, nor one move the other's place.
        async with self._starting:
            if self._tail is None or self._tail.done():
                self._position = await asyncio.to_thread(self._last_id)
                # A tail that a bug has ended leaves pages that no longer know where they stand.
                self._tell_all(Signal.RELOAD)
                self._tail = asyncio.create_task(self._run(), name="events tail")
            start = self._position
            self._listeners.add(listener)
        try:
            if self._is_closed:
                listener.tell(Signal.END)
            position, first = await asyncio.to_thread(self._missed, site_id, after, start)
            # What the tail told meanwhile is newer than what was missed.
            later = [listener.queue.get_nowait().what for _ in range(listener.queue.qsize())]
            listener.position = position
            for what in (*first, Signal.PING, *later):
                listener.tell(what)
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners and self._tail is not None:
                self._tail.cancel()
                self._tail = None

    def close(self) -> None:
        """End every stream; call it when the process is asked to stop, pages come back by then."""
        self._is_closed = True
        for listener in self._listeners:
            listener.tell(Signal.END)

    async def _run(self) -> None:
        pinged_at = monotonic()
        while True:
            try:
                found = await asyncio.to_thread(self._look)
            except (SQLAlchemyError, Unavailable) as error:
                # No ping, so the pages say that they are not live.
                log.error("events not readable", extra={"error": type(error).__name__})
                await asyncio.sleep(1)
                continue
            for event in found:
                self._position = event.id
                self._tell_all(event)
            if monotonic() - pinged_at >= self.ping_every_s:
                pinged_at = monotonic()
                self._tell_all(Signal.PING)
            if len(found) < MOST_AT_ONCE:
                await asyncio.sleep(LOOK_EVERY_S)

    def _tell_all(self, what: Event | Signal) -> None:
        for listener in self._listeners:
            listener.tell(what)

    def _look(self) -> tuple[Event, ...]:
        with reading(self._engine) as connection:
            return tail(connection, self._position, MOST_AT_ONCE)

    def _last_id(self) -> int:
        with reading(self._engine) as connection:
            return last_id(connection)

    def _missed(
        self, site_id: int | None, after: int, until: int
    ) -> tuple[int, tuple[Event | Signal, ...]]:
        """Return where a listener stands, and what it must be told to stand there."""
        with reading(self._engine) as connection:
            position = last_id(connection, site_id, until)
            is_known = 0 <= after <= last_id(connection, site_id)
            missed = seen_since(connection, site_id, after, until, MOST_TOLD_AGAIN + 1)
        if not is_known or len(missed) > MOST_TOLD_AGAIN:
            return position, (Signal.RELOAD,)
        return position, missed
