"""A made-up region: the same for the same seed, and every key is read in every pool."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from firstread.errors import UsageError
from serving.accounts.sites import add_site
from serving.database.engine import reading, writing
from serving.database.tables import pools, reader_keys, sites, users
from serving.studies.region import (
    HOSPITALS,
    POOLS,
    PROFILES,
    READERS,
    fill_region,
    plan_region,
)
from serving.worklist.pools import ensure_default_pool
from tests.serving.databases import a_database

NOW = 1_780_000_000.0
SEEDS = st.integers(0, 2**32)


@given(seed=SEEDS)
@settings(max_examples=10)
def test_the_same_seed_is_the_same_region_and_every_pool_reads_every_key(seed: int) -> None:
    region = plan_region(seed, ("standard",))
    assert region == plan_region(seed, ("standard",))
    every = frozenset[object]().union(*(keys for keys, _ in PROFILES))
    for pool in range(POOLS):
        own = {reader.profile for reader in region.readers if reader.pool == pool}
        assert frozenset[object]().union(*(PROFILES[one][0] for one in own)) == every


def test_hospitals_are_of_unequal_volume_and_readers_are_where_the_cases_are() -> None:
    region = plan_region(1, ("large", "standard"))
    volumes = [hospital.contract_per_day for hospital in region.hospitals]
    assert len(volumes) == HOSPITALS == 1205
    assert sum(volumes) == pytest.approx(60_250)
    assert volumes[0] / volumes[99] == pytest.approx(100**1.2)
    assert Counter(hospital.tier for hospital in region.hospitals) == {
        "large": 603,
        "standard": 602,
    }
    loads, readers = [0.0] * POOLS, Counter(reader.pool for reader in region.readers)
    for hospital in region.hospitals:
        loads[hospital.pool] += hospital.contract_per_day
    busiest = max(range(POOLS), key=loads.__getitem__)
    assert readers.most_common(1)[0][0] == busiest


def test_a_region_fills_an_empty_database_once(database: str, tmp_path: Path) -> None:
    engine = a_database(tmp_path / "region.sqlite")
    told: list[tuple[str, int, int]] = []
    region = plan_region(7, ("standard",))
    with writing(engine) as connection:
        ensure_default_pool(connection, NOW)
        fill_region(
            connection, region, password_hash="none", now=NOW,
            progress=lambda stage, done, total: told.append((stage, done, total)),
        )  # fmt: skip
    with reading(engine) as connection:
        counts = [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (sites, pools, users)
        ]
        assert counts == [HOSPITALS, POOLS + 1, READERS]
        readers = select(func.count(reader_keys.c.user_id.distinct()))
        assert connection.execute(readers).scalar_one() == READERS
    assert told[-1] == ("readers", READERS, READERS)
    with pytest.raises(UsageError, match="already"), writing(engine) as connection:
        fill_region(connection, region, password_hash="none", now=NOW)
    engine.dispose()


def test_a_region_does_not_go_among_real_hospitals(database: str, tmp_path: Path) -> None:
    engine = a_database(tmp_path / "real.sqlite")
    with writing(engine) as connection:
        add_site(connection, code="county", name="County", now=NOW)
    with pytest.raises(UsageError) as caught, writing(engine) as connection:
        fill_region(connection, plan_region(7, ("standard",)), password_hash="none", now=NOW)
    assert "--data" in caught.value.advice
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).select_from(sites)).scalar_one() == 1
    engine.dispose()
