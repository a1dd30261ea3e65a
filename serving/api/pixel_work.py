"""Work on pixels, apart from all other work: a few at once, some waiting, the others told so.

A frame or a picture takes a core and memory, and a decoder or a disk may hang. The threads of this
work are its own: those of the common pool settle who asks, take studies and answer ``/readyz``.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from anyio import CapacityLimiter, Semaphore, fail_after, to_thread

from serving.errors import Unavailable

# Each takes memory for a frame or a picture, and a child process of 100 MB where it decodes.
AT_ONCE = 2
# A viewer asks for some ten frames at a time.
MOST_WAITING = 256
LONGEST_WAIT_S = 30.0


# Who works on for longer lets others in between.
TURN_S = 1.0

T = TypeVar("T")


class PixelWork:
    """The work on pixels of one application; used by one event loop."""

    def __init__(self) -> None:
        # Who waits for a turn may be sent away, who has a thread is waited for.
        self._turns = Semaphore(AT_ONCE)
        self._threads = CapacityLimiter(AT_ONCE)

    async def run(self, work: Callable[[], T], *, has_begun: bool = False) -> T:
        """Return what ``work`` makes, in a thread.

        Parameters
        ----------
        has_begun
            The answer is on its way: it waits for as long as it takes.

        Raises
        ------
        Unavailable
            ``unavailable``: too many wait, or it would have waited too long.
        """
        busy = Unavailable("too many frames and pictures at once", advice="ask again later")
        if not has_begun and self._turns.statistics().tasks_waiting >= MOST_WAITING:
            raise busy
        try:
            with fail_after(None if has_begun else LONGEST_WAIT_S):
                await self._turns.acquire()
        except TimeoutError:
            raise busy from None
        try:
            return await to_thread.run_sync(work, limiter=self._threads)
        finally:
            self._turns.release()

    async def run_all(self, steps: Iterator[object], *, has_begun: bool = False) -> None:
        """Take all steps of a long work, each turn for ``TURN_S``.

        Raises
        ------
        Unavailable
            ``unavailable``: see :meth:`run`; once it has begun it waits for as long as it takes.
        """
        while not await self.run(partial(_take_some, steps), has_begun=has_begun):
            has_begun = True


def _take_some(steps: Iterator[object]) -> bool:
    """Return whether all steps are taken."""
    until = time.monotonic() + TURN_S
    return not any(time.monotonic() > until for _ in steps)
