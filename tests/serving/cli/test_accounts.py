"""``firstread users``, ``sites`` and ``tokens`` on the database of a data folder."""

import io
import json
import sys
from pathlib import Path

import pytest

from serving.accounts.tokens import caller_of_token
from serving.accounts.users import find_user
from serving.database.engine import open_engine, reading
from serving.settings import Settings
from tests.serving.cli.conftest import Run


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "var"
    monkeypatch.setenv("FIRSTREAD_DATA", str(folder))
    return folder


def type_in(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def as_json(run: Run, *words: object) -> dict[str, object]:
    code, out, err = run(*words, "--json")
    assert code == 0, err
    document: dict[str, object] = json.loads(out)
    return document


def test_a_user_of_a_new_site_is_made_in_an_empty_folder(run: Run) -> None:
    as_json(run, "sites", "add", "county", "--name", "县医院")
    made = as_json(run, "users", "add", "Li", "--role", "sender", "--site", "county", "--generate")
    assert (made["name"], made["role"], made["site"]) == ("li", "sender", "county")
    assert len(str(made["password"])) == 23
    code, out, _ = run("users", "list")
    assert (code, out.split()) == (0, ["li", "sender", "county"])


def test_another_folder_is_named_by_every_command(run: Run, tmp_path: Path, data: Path) -> None:
    there = ("--data", tmp_path / "demo")
    as_json(run, "sites", "add", "county", "--name", "County", *there)
    as_json(run, "users", "add", "li", "--role", "reader", "--generate", *there)
    token = as_json(run, "tokens", "add", "--site", "county", "--label", "pacs", *there)
    as_json(run, "tokens", "revoke", token["id"], *there)
    for words, expected in (("sites", "county"), ("users", "li"), ("tokens", "revoked")):
        assert expected in run(words, "list", *there)[1]
    assert run("jobs", "list", *there)[0] == 0
    assert not data.exists()


def test_a_piped_password_is_taken_and_shown_nowhere(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, "a password from a pipe\n")
    code, out, err = run("users", "add", "li", "--role", "reader")
    assert code == 0
    assert "pipe" not in out + err


def test_no_option_takes_a_password(run: Run) -> None:
    assert run("users", "add", "li", "--role", "reader", "--password", "x")[0] == 2


@pytest.mark.parametrize("typed", ["", "short\n"])
def test_a_weak_or_absent_password_is_wrong_usage(
    run: Run, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    type_in(monkeypatch, typed)
    code, _, err = run("users", "add", "li", "--role", "reader")
    assert (code, err.startswith("error[usage]")) == (2, True)


def test_a_role_changes_and_a_user_goes_and_comes_back(run: Run, data: Path) -> None:
    as_json(run, "users", "add", "li", "--role", "reader", "--generate")
    assert as_json(run, "users", "set-role", "li", "--role", "admin")["role"] == "admin"
    assert as_json(run, "users", "deactivate", "li")["active"] is False
    assert as_json(run, "users", "activate", "li")["active"] is True
    old = as_json(run, "users", "password", "li", "--generate")["password"]
    assert as_json(run, "users", "password", "li", "--generate")["password"] != old
    engine = open_engine(Settings(data=data).database_url)
    with reading(engine) as connection:
        assert find_user(connection, "li").is_active
    engine.dispose()


def test_another_role_widens_no_user_s_view(run: Run, data: Path) -> None:
    as_json(run, "sites", "add", "county", "--name", "County")
    as_json(run, "users", "add", "li", "--role", "sender", "--site", "county", "--generate")
    assert as_json(run, "users", "set-role", "li", "--role", "reader")["site"] == "county"
    assert (
        run("users", "set-role", "li", "--role", "reader", "--site", "county", "--all-sites")[0]
        == 2
    )
    wide = as_json(run, "users", "set-role", "li", "--role", "reader", "--all-sites")
    assert wide["site"] is None


@pytest.mark.parametrize(
    "words",
    [
        ("users", "add", "li", "--role", "sender", "--generate"),
        ("users", "add", "li", "--role", "king", "--generate"),
        ("users", "add", "li", "--role", "reader", "--site", "nowhere", "--generate"),
        ("users", "deactivate", "nobody"),
        ("users", "password", "nobody", "--generate"),
        ("sites", "set", "nowhere", "--name", "x"),
        ("sites", "add", "County 1", "--name", "x"),
        ("tokens", "add", "--site", "nowhere", "--label", "x"),
        ("tokens", "revoke", "1"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_wrong_usage_in_one_line(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error[usage]: ")


def test_a_site_is_changed_and_listed(run: Run) -> None:
    as_json(run, "sites", "add", "county", "--name", "County", "--ordered-class", "urgent")
    changed = as_json(run, "sites", "set", "county", "--application", "by_hand")
    assert (changed["ordered_class"], changed["application"]) == ("urgent", "by_hand")
    assert run("sites", "list")[1].split() == ["county", "urgent", "by_hand", "County"]


def test_a_token_works_until_it_is_revoked(run: Run, data: Path) -> None:
    as_json(run, "sites", "add", "county", "--name", "County")
    made = as_json(run, "tokens", "add", "--site", "county", "--label", "gateway")
    engine = open_engine(Settings(data=data).database_url)
    with reading(engine) as connection:
        assert caller_of_token(connection, str(made["token"]), 0) is not None
    as_json(run, "tokens", "revoke", made["id"])
    with reading(engine) as connection:
        assert caller_of_token(connection, str(made["token"]), 0) is None
    engine.dispose()
    code, out, _ = run("tokens", "list")
    assert code == 0
    assert "revoked" in out
    assert str(made["token"]) not in out


def test_a_token_alone_stands_on_standard_output(run: Run) -> None:
    run("sites", "add", "county", "--name", "County")
    _, out, err = run("tokens", "add", "--site", "county", "--label", "gateway")
    assert out.startswith("frst_")
    assert len(out.split()) == 1
    assert "not shown again" in err


def test_empty_lists_say_so_and_print_nothing(run: Run) -> None:
    for group, thing in (("users", "user"), ("sites", "site"), ("tokens", "token")):
        assert run(group, "list") == (0, "", f"no {thing}\n")
        assert run(group, "list", "--json")[1] == "[]\n"


def test_a_region_is_made_once_and_refused_among_hospitals(run: Run) -> None:
    made = as_json(run, "region", "--seed", 7)
    assert made == {"seed": 7, "hospitals": 1205, "pools": 24, "readers": 1500}
    code, out, err = run("region", "--seed", 7)
    assert (code, out) == (2, "")
    assert "hint: name an empty folder" in err
