"""Bring a database to the tables of this version, or refuse.

An upgrade is one transaction under a lock: of several processes that start together one does the
work and the others find it done. There is no way down: data may be lost by it. Who goes back to an
older version restores the copy from before the upgrade (docs/archive.md).
"""

import os
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from firstread.errors import ConfigurationError
from serving.database.engine import writing
from serving.database.locks import Lock, hold, set_limits

MIGRATIONS = Path(__file__).parent / "migrations"

# Locks of SQLite are lost or lie on these (sqlite.org/howtocorrupt.html, section 2).
_NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "ncpfs", "afs", "ceph", "lustre", "gpfs"}
    | {"glusterfs", "fuse.glusterfs", "fuse.sshfs", "fuse.s3fs", "beegfs", "ocfs2", "9p"}
)


class SchemaNewer(ConfigurationError):
    """The database was upgraded by a newer version of Firstread."""

    code = "schema-newer"
    http_status = 503


class NetworkFilesystem(ConfigurationError):
    """SQLite cannot keep its promises where the file lies."""

    code = "network-filesystem"
    http_status = 503


def migrate(engine: Engine) -> None:
    """Upgrade the tables; does nothing where they are those of this version.

    Raises
    ------
    SchemaNewer
        ``schema-newer``: a newer version was here; nothing was changed.
    NetworkFilesystem
        ``network-filesystem``: the SQLite file lies on one.
    Unavailable
        ``unavailable``: the database does not answer.
    """
    file = engine.url.database
    if engine.dialect.name == "sqlite" and file:
        refuse_network_filesystem(Path(file))
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    with writing(engine) as connection:
        # A large table takes its time, and who comes second waits for the first.
        set_limits(connection, lock_ms=0, statement_ms=0)
        hold(connection, Lock.MIGRATION)
        _upgrade(connection)


def refuse_network_filesystem(file: Path, mounts: str | None = None) -> None:
    """Refuse a database file on a filesystem of another machine.

    Parameters
    ----------
    mounts
        Content of ``/proc/self/mountinfo``; None reads it. Where there is none, nothing is known
        and nothing refused.

    Raises
    ------
    NetworkFilesystem
        ``network-filesystem``
    """
    if mounts is None:
        table = Path("/proc/self/mountinfo")
        mounts = table.read_text("utf-8", "replace") if table.exists() else ""
    place = Path(os.path.realpath(file))
    found, kind = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        mount = Path(before.split()[4].replace("\\040", " "))
        # The last of equals is the one mounted on top.
        if place.is_relative_to(mount) and len(mount.parts) >= found:
            found, kind = len(mount.parts), after.split()[0]
    if kind in _NETWORK:
        raise NetworkFilesystem(
            f"the database lies on a network filesystem ({kind})",
            advice="put FIRSTREAD_DATA on a local disk",
        )


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    here = _revision(connection)
    if here is not None and here not in known:
        raise SchemaNewer(
            f"the database has the tables of a newer version of Firstread (revision {here[:32]})",
            advice="install that version again, or restore the copy from before the upgrade",
        )
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)
