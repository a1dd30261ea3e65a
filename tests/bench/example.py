"""A part whose work is done by its child: what a watcher of one process alone would miss."""

import subprocess
import sys
import threading

from tests.bench.parts import Stopwatch

WORK = """
import time
held = bytearray(200_000_000)
for place in range(0, len(held), 4096):
    held[place] = 1
end = time.process_time() + 0.2
while time.process_time() < end:
    pass
time.sleep(0.1)
"""


def main() -> None:
    """Let a child hold 200 MB and work for 0.2 s; with ``for-ever`` never end."""
    if sys.argv[1:] == ["for-ever"]:
        threading.Event().wait()
    watch = Stopwatch()
    with watch.stage("work"):
        subprocess.run([sys.executable, "-c", WORK], check=True)
    watch.report(python=sys.version_info.major)


if __name__ == "__main__":
    main()
