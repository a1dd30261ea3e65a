"""Users: people with a name, a role, and a site or all of them."""

import re
import unicodedata
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, Row, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from firstread.errors import UsageError
from firstread.messages import Language
from serving.accounts.caller import Role
from serving.accounts.passwords import hash_password, make_password
from serving.accounts.sessions import end_sessions
from serving.database.engine import reading, writing
from serving.database.locks import Lock, hold
from serving.database.tables import sites, users

FIRST_ADMIN = "admin"
# Any letters; nothing that cannot be seen, and no blank.
NAME = re.compile(r"[\w.@-]{1,64}")
THEMES = ("light", "dark")


@dataclass(frozen=True, slots=True)
class User:
    """A user as lists show it; ``site_code`` None: all sites."""

    id: int
    name: str
    role: Role
    site_id: int | None
    site_code: str | None
    language: str | None
    theme: str | None
    is_active: bool
    is_demonstration: bool
    created_at: float


def normal_name(name: str) -> str:
    """Return a name as it is stored: small letters, composed, without blanks around it."""
    # What is no character, or none that a database holds, is in nobody's name.
    name = name.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return unicodedata.normalize("NFKC", name).strip().casefold()


def add_user(
    connection: Connection,
    *,
    name: str,
    password_hash: str,
    role: Role,
    site_id: int | None,
    now: float,
    language: Language | None = None,
    is_demonstration: bool = False,
) -> int:
    """Add a user and return its id.

    Raises
    ------
    UsageError
        ``usage``: the name is none or taken, or a sender of no site.
    """
    name = normal_name(name)
    if not NAME.fullmatch(name):
        raise UsageError("a user's name has 1 to 64 letters, digits, dots or dashes")
    _check_site(role, site_id)
    row = {
        "name": name,
        "password_hash": password_hash,
        "role": role.value,
        "site_id": site_id,
        "language": language.value if language else None,
        "is_demonstration": is_demonstration,
        "created_at": now,
    }
    try:
        return int(connection.execute(insert(users).values(row).returning(users.c.id)).scalar_one())
    except IntegrityError as error:
        raise UsageError(f"there is a user {name} already") from error


def list_users(connection: Connection) -> tuple[User, ...]:
    """Return all users by name."""
    return tuple(_user(row) for row in connection.execute(_SELECT.order_by(users.c.name)))


def find_user(connection: Connection, name: str) -> User:
    """Return the user of a name.

    Raises
    ------
    UsageError
        ``usage``: nobody has it.
    """
    row = connection.execute(_SELECT.where(users.c.name == normal_name(name))).one_or_none()
    if row is None:
        raise UsageError(f"there is no user {normal_name(name)}", advice="firstread users list")
    return _user(row)


def set_role(connection: Connection, user_id: int, role: Role, site_id: int | None) -> None:
    """Give a user another role or site; whoever is logged in must log in again.

    Raises
    ------
    UsageError
        ``usage``: a sender of no site.
    """
    _check_site(role, site_id)
    _change(connection, user_id, role=role.value, site_id=site_id)
    end_sessions(connection, user_id)


def set_password(
    connection: Connection, user_id: int, password_hash: str, *, keep: str | None = None
) -> None:
    """Store another password and end the user's sessions.

    Parameters
    ----------
    keep
        SHA-256 of the session that goes on: the one in which the user changed it.
    """
    _change(connection, user_id, password_hash=password_hash)
    end_sessions(connection, user_id, keep=keep)


def deactivate(connection: Connection, user_id: int) -> None:
    """Let a user log in no more, and end its sessions; what it did stays on record."""
    _change(connection, user_id, is_active=False)
    end_sessions(connection, user_id)


def activate(connection: Connection, user_id: int) -> None:
    """Let a user log in again."""
    _change(connection, user_id, is_active=True)


def set_language(connection: Connection, user_id: int, language: Language | None) -> None:
    """Choose the language of a user's pages; None: as the browser asks."""
    _change(connection, user_id, language=language.value if language else None)


def set_theme(connection: Connection, user_id: int, theme: str | None) -> None:
    """Choose ``light`` or ``dark``; None: as the browser asks."""
    assert theme is None or theme in THEMES
    _change(connection, user_id, theme=theme)


def ensure_first_admin(engine: Engine, now: float) -> str | None:
    """Make the first administrator where there has never been one.

    Returns
    -------
    Its password, to be shown once; None where there is one, or was.
    """
    # Cheap question first: hashing takes its time, and must not hold the one writer.
    with reading(engine) as connection:
        if _has_had_admin(connection):
            return None
    password = make_password()
    password_hash = hash_password(password)
    with writing(engine) as connection:
        hold(connection, Lock.START)
        if _has_had_admin(connection):
            return None
        add_user(
            connection,
            name=FIRST_ADMIN,
            password_hash=password_hash,
            role=Role.ADMIN,
            site_id=None,
            now=now,
        )
    return password


_SELECT = select(users, sites.c.code.label("site_code")).join_from(
    users, sites, users.c.site_id == sites.c.id, isouter=True
)


def _user(row: Row[tuple[object, ...]]) -> User:
    found = row._mapping
    return User(
        id=found["id"],
        name=found["name"],
        role=Role(found["role"]),
        site_id=found["site_id"],
        site_code=found["site_code"],
        language=found["language"],
        theme=found["theme"],
        is_active=found["is_active"],
        is_demonstration=found["is_demonstration"],
        created_at=found["created_at"],
    )


def _check_site(role: Role, site_id: int | None) -> None:
    if role is Role.SENDER and site_id is None:
        raise UsageError(
            "a sender belongs to a site: a study is of the site that sent it",
            advice="name it with --site; firstread sites list",
        )


def _change(connection: Connection, user_id: int, **values: object) -> None:
    changed = connection.execute(update(users).where(users.c.id == user_id).values(values))
    assert changed.rowcount == 1, "users are never deleted"


def _has_had_admin(connection: Connection) -> bool:
    # Whoever gave the first one another role did not ask for a second.
    is_one = or_(users.c.role == Role.ADMIN.value, users.c.name == FIRST_ADMIN)
    count = select(func.count()).select_from(users).where(is_one)
    return bool(connection.execute(count).scalar_one())
