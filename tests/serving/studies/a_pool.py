"""A pool with cases and readers, without the web: for tests of claims."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select, update

from serving.accounts.caller import Role
from serving.accounts.users import add_user
from serving.database.engine import open_engine, reading, writing
from serving.database.tables import cases, decisions, events, pools
from serving.studies import claims
from serving.studies.claims import Claim, Reader
from serving.worklist.keys import ReadingKey
from serving.worklist.pools import add_pool, key_id, let_read
from serving.worklist.urgency import UrgencyPolicy
from tests.serving.databases import make_database, url_of
from tests.serving.worklist.cases import POLICY, ACase, add_cases, add_sites

NOW = 1_780_000_000.0
LEASE_S = 900.0


@dataclass
class APool:
    """Two hospitals, the open pool ``default`` and the pool ``closed``, and whoever reads there.

    Attributes
    ----------
    is_made
        By another process: what is there stays.
    """

    folder: Path
    policy: UrgencyPolicy = POLICY
    is_made: bool = False

    def __post_init__(self) -> None:
        file = self.folder / "firstread.sqlite"
        if not self.is_made:
            make_database(file)
        self.engine: Engine = open_engine(url_of(file))
        if not self.is_made:
            with writing(self.engine) as connection:
                add_sites(connection)
                self.closed = add_pool(
                    connection, code="closed", name="Closed", readers=8, reading_minutes=10, now=NOW
                )
                self.head = key_id(connection, ReadingKey("MR", "head"))

    def close(self) -> None:
        """Close what holds files."""
        self.engine.dispose()

    def reader(self, name: str, site_id: int | None = None) -> Reader:
        """Add a reader."""
        with writing(self.engine) as connection:
            user_id = add_user(
                connection, name=name, password_hash="none", role=Role.READER,
                site_id=site_id, now=NOW,
            )  # fmt: skip
        return Reader(user_id, site_id)

    def may_read(self, reader: Reader, *keys: int) -> None:
        """Let a reader read keys in the pool ``closed``."""
        with writing(self.engine) as connection:
            let_read(connection, reader.user_id, self.closed, keys)

    def add(self, *wanted: ACase) -> list[str]:
        """Add cases."""
        with writing(self.engine) as connection:
            return add_cases(connection, list(wanted), self.policy)

    def set_credit(self, credit: float) -> None:
        """Let all pools have saved up so much."""
        with writing(self.engine) as connection:
            connection.execute(update(pools).values(credit=credit))

    def next(
        self, reader: Reader, now: float = NOW, pool: str = "default", key: str | None = None
    ) -> Claim | None:
        """Claim what is next."""
        return claims.next_case(
            self.engine, self.policy, pool, reader, now=now, lease_s=LEASE_S, request_key=key
        )

    def take(
        self, case_id: str, reader: Reader, version: int = 1, now: float = NOW, **more: Any
    ) -> Claim:
        """Claim a case of one's choice."""
        return claims.claim_case(
            self.engine, self.policy, case_id, version, reader, now=now, lease_s=LEASE_S, **more
        )

    def beat(self, claim: Claim, reader: Reader, now: float = NOW) -> Claim:
        """Let a claim last."""
        return claims.heartbeat(
            self.engine, claim.case_id, claim.fence, reader, now=now, lease_s=LEASE_S
        )

    def release(self, claim: Claim, reader: Reader, now: float = NOW) -> None:
        """Give a case back."""
        claims.release(self.engine, claim.case_id, claim.fence, reader, now=now)

    def case(self, case_id: str) -> dict[str, Any]:
        """Return a case's row."""
        with reading(self.engine) as connection:
            query = select(cases).where(cases.c.id == case_id)
            return dict(connection.execute(query).mappings().one())

    def decisions(self) -> list[dict[str, Any]]:
        """Return what was decided, in the order of the pools' versions."""
        with reading(self.engine) as connection:
            query = select(decisions).order_by(decisions.c.pool_id, decisions.c.pool_version)
            return [dict(row) for row in connection.execute(query).mappings()]

    def kinds(self, case_id: str) -> list[str]:
        """Return what happened to a case."""
        with reading(self.engine) as connection:
            query = select(events.c.kind).filter_by(case_id=case_id).order_by(events.c.id)
            return list(connection.execute(query).scalars())


def many(count: int, **values: Any) -> Iterable[ACase]:
    """Return routine cases that came a second after each other."""
    return (ACase(case_id=f"c{n:05d}", arrived_at=NOW + n, **values) for n in range(count))
