"""``firstread send`` as a program reads it: one document, however it ended."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.serving.cli.conftest import Run
from tests.serving.sending.a_peer import STORED, a_server, address, json_reply
from tests.serving.studies.a_study import an_instance


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two studies of one image each."""
    place = tmp_path / "studies"
    place.mkdir()
    for name in ("first", "second"):
        (place / name).write_bytes(an_instance(study=name))
    return place


def sent(run: Run, folder: Path, url: str) -> tuple[int, dict[str, Any], str]:
    code, out, err = run("send", folder, "--to", url, "--json", "--patience", 0)
    return code, json.loads(out), err


def test_what_was_acknowledged_before_the_line_broke_is_told(run: Run, folder: Path) -> None:
    replies = (json_reply(200, STORED), json_reply(503, {"detail": "broken"}))
    with a_server(*replies) as server:
        code, told, err = sent(run, folder, address(server))
    assert code == 9
    assert [study["stored"] for study in told["studies"]] == [1]
    assert told["error"]["code"] == "unreachable"
    assert "broken" in told["error"]["message"]
    assert "is not stored twice" in told["error"]["advice"]
    assert "error[unreachable]" in err


def test_an_error_before_anything_was_sent_is_a_document_too(run: Run, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no image")
    code, told, _ = sent(run, tmp_path, "http://127.0.0.1:9")
    assert (code, told["studies"], told["error"]["code"]) == (3, [], "nothing-readable")


def test_without_an_error_there_is_none_in_the_document(run: Run, folder: Path) -> None:
    with a_server(json_reply(200, STORED)) as server:
        code, told, _ = sent(run, folder, address(server))
    assert (code, len(told["studies"])) == (0, 2)
    assert "error" not in told
