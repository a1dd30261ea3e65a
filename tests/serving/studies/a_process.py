"""A process of its own that receives, or finishes: for tests that kill it or watch its calls.

    python -m tests.serving.studies.a_process FOLDER receive FILE ...    two files a request
    python -m tests.serving.studies.a_process FOLDER finish

It prints one line for every request that it would acknowledge.
"""

import sys
from pathlib import Path

from serving.studies.life import begin
from tests.serving.studies.a_study import NOW, Archive


def receive_files(archive: Archive, files: list[Path]) -> None:
    """Receive two files at a time, and say so as an answer would be sent."""
    for start in range(0, len(files), 2):
        answers = archive.receive_together(
            *(path.read_bytes() for path in files[start : start + 2])
        )
        say(" ".join(["acknowledged", *(answer.sop_instance_uid for answer in answers)]))


def finish_one(archive: Archive) -> None:
    """Do what a worker does with one study."""
    job = archive.claim(NOW + 20)
    assert job is not None
    begin(archive.engine, job, NOW + 20)
    outcome = archive.finish(
        job,
        archive.analysed(8.0),
        now=NOW + 30,
    )
    say(outcome)


def say(line: str) -> None:
    """Write a line at once, by one call."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    opened = Archive(Path(sys.argv[1]), is_made=True)
    if sys.argv[2] == "receive":
        receive_files(opened, [Path(name) for name in sys.argv[3:]])
    else:
        finish_one(opened)
    opened.close()
