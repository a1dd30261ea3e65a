"""A made-up region to try the service with: hospitals of unequal volume, pools, readers with keys.

::

    hospital i of 1,205        sends in proportion to i^-1.2: the first as much as the last 900
    24 pools                   each hospital sends to one; readers in proportion to what comes in
    1,500 readers              a third of them at the same time, ten minutes a case: load 0.84

Everything follows from the seed. The readers have a password that nobody knows: those who shall log
in get one by ``firstread users password``.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from sqlalchemy import Connection, func, insert, select

from firstread.errors import UsageError
from firstread.progress import Progress, silent
from serving.accounts.caller import Role
from serving.accounts.demonstration import SITE
from serving.database.tables import pools, sites, users
from serving.worklist.keys import (
    ADULT,
    ANOTHER_PART,
    BODY_PARTS,
    CHILD,
    MODALITIES,
    OTHER,
    ReadingKey,
)
from serving.worklist.pools import add_pool, key_id, let_read
from serving.worklist.urgency import DEFAULT_POOL

HOSPITALS, POOLS, READERS = 1205, 24, 1500
# Hospital i sends in proportion to i to this power.
VOLUME_POWER = -1.2
CASES_PER_DAY = 60_250
READING_MINUTES = 10.0
# Of three readers one reads, around the clock.
SHIFTS = 3

PARTS = (*BODY_PARTS, ANOTHER_PART, "")
ALL_MODALITIES = (*MODALITIES, OTHER)
NOT_MR = tuple(modality for modality in ALL_MODALITIES if modality != "MR")
# What readers have learnt. Together they read every key; so each pool has one of each at least.
PROFILES: Sequence[tuple[frozenset[ReadingKey], float]] = tuple(
    (frozenset(ReadingKey(*parts) for parts in product(modalities, body_parts, (age,))), share)
    for modalities, body_parts, age, share in (
        (NOT_MR, PARTS, ADULT, 0.50),
        (("CT", "MR"), ("head", "spine"), ADULT, 0.15),
        (("CT", "MR"), ("chest", "abdomen", ANOTHER_PART, ""), ADULT, 0.20),
        (ALL_MODALITIES, PARTS, CHILD, 0.15),
    )
)


@dataclass(frozen=True, slots=True)
class Hospital:
    """A hospital; ``pool`` counts from 0."""

    code: str
    name: str
    tier: str
    pool: int
    contract_per_day: float


@dataclass(frozen=True, slots=True)
class RegionReader:
    """A reader; ``pool`` and ``profile`` count from 0."""

    name: str
    pool: int
    profile: int


@dataclass(frozen=True, slots=True)
class Region:
    """What a region is made of."""

    hospitals: tuple[Hospital, ...]
    readers: tuple[RegionReader, ...]


def plan_region(seed: int, tiers: Sequence[str]) -> Region:
    """Draw a region.

    Parameters
    ----------
    tiers
        Of ``urgency.yaml``; hospitals are spread over them by volume, the largest in the first.
    """
    chance = random.Random(seed)  # noqa: S311 - made up, and no secret
    weights = [number**VOLUME_POWER for number in range(1, HOSPITALS + 1)]
    # Every pool gets one of the largest hospitals, the others as they fall.
    homes = [*range(POOLS), *(chance.randrange(POOLS) for _ in range(HOSPITALS - POOLS))]
    hospitals = tuple(
        Hospital(
            code=f"hospital-{number:04d}",
            name=f"示范{homes[number - 1] + 1}区第{number}医院",
            tier=tiers[(number - 1) * len(tiers) // HOSPITALS],
            pool=homes[number - 1],
            contract_per_day=CASES_PER_DAY * weight / sum(weights),
        )
        for number, weight in enumerate(weights, start=1)
    )
    loads = [0.0] * POOLS
    for hospital in hospitals:
        loads[hospital.pool] += hospital.contract_per_day
    least = len(PROFILES)
    left = READERS - POOLS * least
    seats = [pool for pool in range(POOLS) for _ in range(least)]
    seats += chance.choices(range(POOLS), loads, k=left)
    profiles = list(range(least)) * POOLS
    profiles += chance.choices(range(least), [share for _, share in PROFILES], k=left)
    readers = tuple(
        RegionReader(f"reader-{number:04d}", pool, profile)
        for number, (pool, profile) in enumerate(zip(seats, profiles, strict=True), start=1)
    )
    return Region(hospitals, readers)


def fill_region(
    connection: Connection,
    region: Region,
    *,
    password_hash: str,
    now: float,
    progress: Progress = silent,
) -> None:
    """Put a region into a database without hospitals, all of it or nothing.

    Raises
    ------
    UsageError
        ``usage``: other hospitals, pools or a region are there already.
    """
    _refuse_filled(connection)
    counts = [0] * POOLS
    for reader in region.readers:
        counts[reader.pool] += 1
    pool_ids = [
        add_pool(
            connection,
            code=f"pool-{number:02d}",
            name=f"示范{number}区",
            readers=count / SHIFTS,
            reading_minutes=READING_MINUTES,
            now=now,
        )
        for number, count in enumerate(counts, start=1)
    ]
    progress("pools", POOLS, POOLS)
    rows = [
        {
            "code": one.code, "name": one.name, "tier": one.tier, "pool_id": pool_ids[one.pool],
            "contract_per_day": one.contract_per_day, "created_at": now,
        }
        for one in region.hospitals
    ]  # fmt: skip
    connection.execute(insert(sites), rows)
    progress("hospitals", HOSPITALS, HOSPITALS)
    keys = [[key_id(connection, key) for key in sorted(part, key=str)] for part, _ in PROFILES]
    same = {"password_hash": password_hash, "role": Role.READER.value, "created_at": now}
    ids = connection.execute(
        insert(users).returning(users.c.id, sort_by_parameter_order=True),
        [{"name": reader.name, **same} for reader in region.readers],
    ).scalars()
    for done, (reader, user_id) in enumerate(zip(region.readers, ids.all(), strict=True), start=1):
        let_read(connection, user_id, pool_ids[reader.pool], keys[reader.profile])
        progress("readers", done, READERS)


def _refuse_filled(connection: Connection) -> None:
    others = select(func.count()).select_from(sites).where(sites.c.code != SITE)
    own_pools = select(func.count()).select_from(pools).where(pools.c.code != DEFAULT_POOL)
    if connection.execute(others).scalar() or connection.execute(own_pools).scalar():
        raise UsageError(
            "there are hospitals or pools already, and a made-up region does not go among them",
            advice="name an empty folder with --data, or another database with FIRSTREAD_DATABASE",
        )
