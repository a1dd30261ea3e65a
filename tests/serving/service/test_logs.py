"""What a line of the log holds, and what it never does."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from serving.database.tables import sites
from serving.service.logs import JsonLines
from tests.serving.databases import a_database

SECRET = "WANG^WEI 2.25.1234567890"


def line_of(record: logging.LogRecord) -> dict[str, object]:
    line: dict[str, object] = json.loads(JsonLines("web").format(record))
    return line


def record(name: str, message: str, *values: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.WARNING, __file__, 1, message, values, None)
    vars(made).update(extra)
    return made


def test_our_events_carry_their_values_by_name() -> None:
    line = line_of(record("serving.service.worker", "analysis ended", case="abc", seconds=6.1))
    assert line["event"] == "analysis ended"
    assert (line["case"], line["seconds"]) == ("abc", 6.1)
    assert (line["process"], line["level"]) == ("web", "warning")
    assert str(line["at"]).endswith("Z")


def test_a_library_says_its_sentence_without_what_it_filled_in() -> None:
    line = line_of(record("pydicom", "Invalid value for VR PN: %r", SECRET))
    assert line["event"] == "Invalid value for VR PN: %r"
    assert SECRET not in json.dumps(line)


def test_an_exception_gives_its_kind_and_place_and_never_its_text() -> None:
    made = record("uvicorn.error", "Exception in ASGI application")
    try:
        raise ValueError(SECRET)
    except ValueError:
        made.exc_info = sys.exc_info()
    line = line_of(made)
    assert line["error"] == "ValueError"
    assert "test_logs.py" in str(line["places"])
    assert SECRET not in json.dumps(line)


def test_a_value_that_json_has_no_form_for_is_named_by_its_kind() -> None:
    assert line_of(record("serving.x", "event", value=object()))["value"] == "object"


def test_what_ends_a_process_is_one_line_without_its_text() -> None:
    code = (
        f"from serving.service import logs; logs.set_up('web', None); raise ValueError('{SECRET}')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 1
    line = json.loads(ended.stderr)
    assert (line["event"], line["error"]) == ("a bug ended the process", "ValueError")
    assert SECRET not in ended.stderr


def test_an_error_of_the_database_does_not_say_what_was_written(
    database: str, tmp_path: Path
) -> None:
    engine = a_database(tmp_path / "one.sqlite")
    row = {"code": "county", "name": SECRET, "created_at": 0.0}
    with engine.begin() as connection, pytest.raises(IntegrityError) as told:
        connection.execute(insert(sites), [row, row])
    engine.dispose()
    assert SECRET not in str(told.value)
