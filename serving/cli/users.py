"""``firstread users add|list|set-role|password|deactivate|activate``.

A password is typed, piped in or made: never an argument, which others can read in the process list.
"""

import sys
import time
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from firstread.errors import UsageError
from serving.accounts.caller import Role
from serving.cli.database import DataOption, iso, opened
from serving.cli.output import say, tell, tell_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from serving.accounts.users import User

app = typer.Typer(help="People who may log in.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME")]
RoleOption = Annotated[Role, typer.Option("--role", help="What somebody may do.")]
SiteOption = Annotated[
    str | None,
    typer.Option("--site", metavar="CODE", help="Sees this site alone. Default: all sites."),
]
GenerateOption = Annotated[
    bool, typer.Option("--generate", help="Make a password and print it, once.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("add")
def add(
    name: NameArgument,
    role: RoleOption,
    site: SiteOption = None,
    generate: GenerateOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a user; the password is asked for, or read from standard input."""
    from serving.accounts.passwords import hash_password
    from serving.accounts.users import add_user, find_user
    from serving.database.engine import writing

    password = _password(generate)
    password_hash = hash_password(password)
    with opened(data) as engine, writing(engine) as connection:
        add_user(
            connection,
            name=name,
            password_hash=password_hash,
            role=role,
            site_id=_site_id(connection, site),
            now=time.time(),
        )
        user = find_user(connection, name)
    _tell_user(user, password if generate else None, as_json)


@app.command("list")
def list_all(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List all users."""
    from serving.accounts.users import list_users
    from serving.database.engine import reading

    with opened(data) as engine, reading(engine) as connection:
        rows = [_row(user) for user in list_users(connection)]
    if as_json:
        tell_json(rows)
        return
    for row in rows:
        tell(
            f"{row['name']:<24}{row['role']:<12}{row['site'] or 'all sites':<20}"
            f"{'' if row['active'] else 'deactivated'}".rstrip()
        )
    if not rows:
        say("no user")


@app.command("set-role")
def set_role(
    name: NameArgument,
    role: RoleOption,
    site: SiteOption = None,
    all_sites: Annotated[
        bool, typer.Option("--all-sites", help="Bind the user to no site any more.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a user another role; its site stays unless you say so. Its sessions end."""
    from serving.accounts import users
    from serving.database.engine import writing

    if all_sites and site is not None:
        raise UsageError("--site and --all-sites contradict each other")
    with opened(data) as engine, writing(engine) as connection:
        user = users.find_user(connection, name)
        site_id = user.site_id if site is None else _site_id(connection, site)
        users.set_role(connection, user.id, role, None if all_sites else site_id)
        user = users.find_user(connection, name)
    _tell_user(user, None, as_json)


@app.command("password")
def password(
    name: NameArgument,
    generate: GenerateOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a user another password; its sessions end."""
    from serving.accounts import users
    from serving.accounts.passwords import hash_password
    from serving.database.engine import reading, writing

    with opened(data) as engine:
        # Before anything is typed.
        with reading(engine) as connection:
            user = users.find_user(connection, name)
        given = _password(generate)
        password_hash = hash_password(given)
        with writing(engine) as connection:
            users.set_password(connection, user.id, password_hash)
    _tell_user(user, given if generate else None, as_json)


@app.command("deactivate")
def deactivate(name: NameArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Let a user in no more; its sessions end, what it did stays on record."""
    from serving.accounts import users

    _tell_user(_changed(name, users.deactivate, data), None, as_json)


@app.command("activate")
def activate(name: NameArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Let a user in again."""
    from serving.accounts import users

    _tell_user(_changed(name, users.activate, data), None, as_json)


def _changed(name: str, change: Any, data: Path | None) -> "User":
    from serving.accounts import users
    from serving.database.engine import writing

    with opened(data) as engine, writing(engine) as connection:
        change(connection, users.find_user(connection, name).id)
        return users.find_user(connection, name)


def _site_id(connection: "Connection", code: str | None) -> int | None:
    from serving.accounts.sites import find_site

    return None if code is None else find_site(connection, code).id


def _password(generate: bool) -> str:
    from serving.accounts.passwords import make_password

    if generate:
        return make_password()
    if not sys.stdin.isatty():
        if given := sys.stdin.readline().rstrip("\r\n"):
            return given
        raise UsageError(
            "no password on standard input", advice="--generate makes one, a terminal asks for it"
        )
    given = getpass("Password: ")
    if getpass("Again: ") != given:
        raise UsageError("the two passwords differ")
    return given


def _row(user: "User") -> dict[str, Any]:
    return {
        "name": user.name,
        "role": user.role.value,
        "site": user.site_code,
        "active": user.is_active,
        "demonstration": user.is_demonstration,
        "created_at": iso(user.created_at),
    }


def _tell_user(user: "User", password: str | None, as_json: bool) -> None:
    row = _row(user)
    if password is not None:
        row["password"] = password
    if as_json:
        tell_json(row)
        return
    where = f"of {row['site']}" if row["site"] else "of all sites"
    tell(f"{row['name']}: {row['role']} {where}{'' if row['active'] else ', deactivated'}")
    if password is not None:
        tell(f"password: {password}")
