"""Sites: the hospitals that send. A study belongs to one, and so does a token."""

import re
from dataclasses import dataclass, fields

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from firstread.errors import UsageError
from serving.database.tables import sites

CODE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
MOST_CHARACTERS = 200
ON_ARRIVAL = "on_arrival"


@dataclass(frozen=True, slots=True)
class Site:
    """A sending hospital.

    Attributes
    ----------
    code
        Its short name on command lines: ``county-2``.
    ordered_class
        Of a study for which the sender orders none.
    application
        ``on_arrival``: every study is applied for at once; ``by_hand``: somebody applies.
    """

    id: int
    code: str
    name: str
    ordered_class: str
    application: str
    created_at: float


# What the readers' side keeps of a hospital (tier, pool, contract) is its own.
_SHOWN = tuple(sites.c[field.name] for field in fields(Site))


def add_site(
    connection: Connection,
    *,
    code: str,
    name: str,
    now: float,
    ordered_class: str = "routine",
    application: str = ON_ARRIVAL,
) -> int:
    """Add a site and return its id.

    Raises
    ------
    UsageError
        ``usage``: the code is none or taken, or the name is empty or too long.
    """
    if not CODE.fullmatch(code):
        raise UsageError("a site's code has 1 to 32 small letters, digits and dashes inside")
    row = {
        "code": code,
        "name": _checked(name),
        "ordered_class": ordered_class,
        "application": application,
        "created_at": now,
    }
    try:
        return int(connection.execute(insert(sites).values(row).returning(sites.c.id)).scalar_one())
    except IntegrityError as error:
        raise UsageError(f"there is a site {code} already") from error


def list_sites(connection: Connection) -> tuple[Site, ...]:
    """Return all sites by code."""
    return tuple(Site(*row) for row in connection.execute(select(*_SHOWN).order_by(sites.c.code)))


def find_site(connection: Connection, code: str) -> Site:
    """Return the site of a code.

    Raises
    ------
    UsageError
        ``usage``: there is none.
    """
    row = connection.execute(select(*_SHOWN).where(sites.c.code == code)).one_or_none()
    if row is None:
        raise UsageError(f"there is no site {code}", advice="firstread sites list")
    return Site(*row)


def set_site(
    connection: Connection,
    site_id: int,
    *,
    name: str | None = None,
    ordered_class: str | None = None,
    application: str | None = None,
) -> None:
    """Change what is given, None leaves it; cases that are there keep their class.

    Raises
    ------
    UsageError
        ``usage``: the name is empty or too long.
    """
    given = {
        "name": None if name is None else _checked(name),
        "ordered_class": ordered_class,
        "application": application,
    }
    values = {key: value for key, value in given.items() if value is not None}
    if values:
        connection.execute(update(sites).where(sites.c.id == site_id).values(values))


def _checked(name: str) -> str:
    name = name.strip()
    if not name or len(name) > MOST_CHARACTERS or not name.isprintable():
        raise UsageError(f"a site's name has 1 to {MOST_CHARACTERS} printable characters")
    return name
