"""The service's log: one JSON document a line, to standard error, without anything of a patient.

``{"at": "2026-01-31T09:30:00.123Z", "level": "info", "process": "worker-1", "event": "study
analysed", "case": "...", "seconds": 6.1}``

What is written is under our control: of our own records the event and its named values, of a
library's records only its format string, never what it filled in (a value of a data set, an
address with a UID). Of an exception its class and the places in the code, never its text.
"""

import json
import logging
import sys
import traceback
import warnings
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from firstread.errors import ConfigurationError, FirstreadError

log = logging.getLogger(__name__)

OURS = ("serving", "inference", "models", "firstread")
LONGEST = 200
MOST_PLACES = 6

# What a record has by itself; everything else was given as ``extra``.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """Turns records into lines.

    Parameters
    ----------
    process
        Which of the service's processes speaks: ``up``, ``web``, ``worker-1``, ...
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "at": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "process": self._process,
        }
        if record.name.partition(".")[0] in OURS:
            line["event"] = record.getMessage()
            line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        else:
            line["event"] = str(record.msg)[:LONGEST]
            line["logger"] = record.name
        if record.exc_info and record.exc_info[0] is not None:
            kind, _, trace = record.exc_info
            line["error"] = kind.__name__
            line["places"] = places(trace)
        return json.dumps(line, ensure_ascii=False, default=_word)


def places(trace: TracebackType | None) -> list[str]:
    """Return where an exception was raised, the innermost first: ``module.py:12 function``."""
    frames = traceback.extract_tb(trace)[-MOST_PLACES:]
    return [
        f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno} {frame.name}"
        for frame in reversed(frames)
    ]


def trouble(error: BaseException) -> dict[str, object]:
    """Return what is told of an exception that was handled: its code or class, and its places."""
    code = error.code if isinstance(error, FirstreadError) else type(error).__name__
    return {"error": code, "places": places(error.__traceback__)}


def set_up(process: str, file: Path | None) -> None:
    """Let this process write its log to a file that all processes add to, or to standard error.

    Raises
    ------
    ConfigurationError
        ``configuration``: the file cannot be written.
    """
    try:
        handler = logging.StreamHandler(sys.stderr) if file is None else logging.FileHandler(file)
    except OSError as error:
        raise ConfigurationError(
            f"FIRSTREAD_LOG: {file} cannot be written: {error.strerror}",
            advice="name a file in a folder that is there and yours",
        ) from error
    handler.setFormatter(JsonLines(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)
    # A warning of pydicom quotes the value that it does not like.
    warnings.simplefilter("ignore")
    # As an exception may; Python would print it whole.
    sys.excepthook = _tell_bug


def _tell_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("a bug ended the process", exc_info=(kind, error, trace))


def _word(value: object) -> str:
    """Return what JSON has no form for, without its content."""
    return type(value).__name__
