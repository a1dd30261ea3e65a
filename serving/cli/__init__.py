"""The ``firstread`` command: what stands before everything that takes time to import.

``commands`` parses, calls and prints. Here only a stop is watched for, from the first moment on:
Ctrl-C while the imports still run ends in the same one line as later.
"""

import signal
import sys
from collections.abc import Callable
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """Run the command line of this process."""
    stopped: list[int] = []

    def leave(number: int, _frame: FrameType | None) -> None:
        # As an exception, so that temporary folders with unpacked studies are removed on the way.
        stopped.append(number)
        sys.exit(128 + number)

    _at_a_stop(leave)
    code = 0
    try:
        from serving.cli.commands import run
        from serving.cli.output import speak_any_locale

        speak_any_locale()
        code = run(sys.argv[1:], was_stopped=lambda: bool(stopped))
    except BaseException:
        # Whatever a library makes of being stopped while it is imported: it was stopped.
        if not stopped:
            raise
    # All is done that will be done, and the exit code says so: too late for another stop.
    _at_a_stop(signal.SIG_IGN)
    if stopped:
        name = signal.Signals(stopped[0]).name
        sys.stderr.write(
            f"error[interrupted]: stopped by {name}\n  hint: nothing is half-written\n"
        )
        code = 128 + stopped[0]
    sys.exit(code)


def _at_a_stop(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in STOPS:
        signal.signal(number, handler)
