"""The reader whose password everybody may know, and the one hospital that it sees.

Its account logs in on loopback alone, and only while the service runs with demonstration data.
Bound to the demonstration's own site, it sees nothing that another hospital has sent.
"""

from sqlalchemy import Engine, select, update

from serving.accounts.caller import Role
from serving.accounts.passwords import hash_password
from serving.accounts.sites import add_site
from serving.accounts.users import add_user
from serving.database.engine import writing
from serving.database.locks import Lock, hold
from serving.database.tables import sites, tokens, users

NAME = "demo"
PASSWORD = "four-synthetic-chests"  # noqa: S105  (public)
SITE = "demonstration"
SITE_NAME = "示范县人民医院"
# Of the tokens with which the studies are sent.
LABEL = "demonstration"


def ensure_demonstration(engine: Engine, now: float) -> None:
    """Make the site and its reader, where they are not there."""
    password_hash = hash_password(PASSWORD)
    with writing(engine) as connection:
        hold(connection, Lock.START)
        known = select(sites.c.id).where(sites.c.code == SITE)
        if connection.execute(known).one_or_none() is None:
            add_site(
                connection,
                code=SITE,
                name=SITE_NAME,
                ordered_class="routine",
                application="on_arrival",
                now=now,
            )
        site_id = connection.execute(known).scalar_one()
        reader = select(users.c.id).where(users.c.name == NAME)
        if connection.execute(reader).one_or_none() is None:
            add_user(
                connection,
                name=NAME,
                password_hash=password_hash,
                role=Role.READER,
                site_id=site_id,
                now=now,
                is_demonstration=True,
            )


def revoke_demonstration_tokens(engine: Engine, now: float) -> None:
    """Let tokens with which studies were sent do nothing more, however their process ended."""
    of_site = select(sites.c.id).where(sites.c.code == SITE).scalar_subquery()
    with writing(engine) as connection:
        connection.execute(
            update(tokens)
            .where(tokens.c.site_id == of_site, tokens.c.label == LABEL)
            .where(tokens.c.revoked_at.is_(None))
            .values(revoked_at=now)
        )
