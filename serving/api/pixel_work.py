"""Work on pixels, apart from all other work: a few at once, some waiting, the others told so.

A frame or a picture takes a core and memory, and a decoder or a disk may hang. The threads of this
work are its own: those of the common pool settle who asks, take studies and answer ``/readyz``.
"""

from collections.abc import Callable

from anyio import CapacityLimiter, Semaphore, fail_after, to_thread
from starlette.responses import Response

from serving.errors import Unavailable

# Each takes memory for a frame or a picture, and a child process of 100 MB where it decodes.
AT_ONCE = 2
# A viewer asks for some ten frames at a time.
MOST_WAITING = 256
LONGEST_WAIT_S = 30.0


class PixelWork:
    """The work on pixels of one application; used by one event loop."""

    def __init__(self) -> None:
        # Who waits for a turn may be sent away, who has a thread is waited for.
        self._turns = Semaphore(AT_ONCE)
        self._threads = CapacityLimiter(AT_ONCE)

    async def run(self, work: Callable[[], Response]) -> Response:
        """Return the answer that ``work`` makes, in a thread.

        Raises
        ------
        Unavailable
            ``unavailable``: too many wait, or it would have waited too long.
        """
        busy = Unavailable("too many frames and pictures at once", advice="ask again later")
        if self._turns.statistics().tasks_waiting >= MOST_WAITING:
            raise busy
        try:
            with fail_after(LONGEST_WAIT_S):
                await self._turns.acquire()
        except TimeoutError:
            raise busy from None
        try:
            return await to_thread.run_sync(work, limiter=self._threads)
        finally:
            self._turns.release()
