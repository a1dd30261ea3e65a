"""Write the first migration anew from the tables, while no release holds anybody to it.

.venv/bin/python -m tests.serving.database.renew_first_migration && make format
"""

import re

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from serving.database.migrate import MIGRATIONS
from serving.database.tables import metadata

HEAD = '''"""The tables of the first version."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite numbers rows in a column of exactly its own type, which has 64 bits.
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(characters: int) -> TypeEngine[str]:
    """By code point on PostgreSQL, too, whatever the locale of its server."""
    return sa.String(characters).with_variant(sa.String(characters, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the change; there is no way back but the copy that was made before."""
'''


def renew() -> None:
    """Write the file."""
    with create_engine("sqlite://").connect() as connection:
        migration = MigrationContext.configure(connection)
        steps = produce_migrations(migration, metadata).upgrade_ops
        assert steps is not None
        code = render_python_code(steps, migration_context=migration)
    # SQLite writes truth as a number, which PostgreSQL does not take for a Boolean.
    code = re.sub(
        r"sa\.Boolean\(\), server_default=sa\.text\('([01])'\)",
        lambda found: f"sa.Boolean(), server_default=sa.{'true' if found[1] == '1' else 'false'}()",
        code,
    )
    # What tables.py says once and a rendered column says anew.
    code = code.replace("sa.BigInteger().with_variant(sa.Integer(), 'sqlite')", "_NUMBER")
    code = re.sub(
        r"sa\.String\(length=(\d+)\)"
        r"\.with_variant\(sa\.String\(length=\1, collation='C'\), 'postgresql'\)",
        r"_text(\1)",
        code,
    )
    lines = [line for line in code.splitlines() if "###" not in line]
    text = HEAD + "    " + "\n".join(lines).strip() + "\n"
    (MIGRATIONS / "versions" / "0001_first_tables.py").write_text(text, "utf-8")


if __name__ == "__main__":
    renew()
