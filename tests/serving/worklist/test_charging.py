"""The bucket of a hospital in the tables: as the pure one, and charged once for each case."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, func, select, update

from serving.database.engine import reading, writing
from serving.database.tables import allowances, pools, site_days, sites
from serving.worklist.allowance import AllowanceRules, allowance_for, charge
from serving.worklist.charging import TRAILING_DAYS, charge_case, hold_site, operational_min
from serving.worklist.pools import Pool, find_pool, sender_of
from serving.worklist.urgency import UrgencyPolicy
from tests.serving.databases import a_database
from tests.serving.worklist.cases import POLICY, a_policy, add_sites

NOW = 1_780_000_000.0
DAY_S = 86400.0


@pytest.fixture
def engine(database: str, tmp_path: Path) -> Iterator[Engine]:
    made = a_database(tmp_path / "list.sqlite")
    with writing(made) as connection:
        add_sites(connection, 3)
    yield made
    made.dispose()


def excesses(
    engine: Engine, *moments: float, site_id: int = 1, policy: UrgencyPolicy = POLICY
) -> list[float]:
    found = []
    for now in moments:
        with writing(engine) as connection:
            hold_site(connection, site_id)
            found.append(charge_case(connection, policy, sender_of(connection, site_id, now), now))
    return found


def test_a_hospital_is_charged_as_the_bucket_says(engine: Engine) -> None:
    moments = [NOW + 20 * number for number in range(30)]
    allowance = allowance_for(0.0, 0.0, 0.4, AllowanceRules())
    tat_min, expected = 0.0, []
    for now in moments:
        at_min = operational_min(POLICY.calendar(), now)
        excess_min, tat_min = charge(at_min, tat_min, allowance)
        expected.append(excess_min)
    assert excesses(engine, *moments) == pytest.approx(expected)
    assert expected[0] == 0 < expected[-1]


def test_one_hospitals_dump_costs_no_other_anything(engine: Engine) -> None:
    assert excesses(engine, *[NOW] * 50)[-1] > 0
    assert excesses(engine, NOW, site_id=2) == [0.0]


def test_a_clock_that_was_years_ahead_leaves_no_hospital_years_of_excess(engine: Engine) -> None:
    excesses(engine, NOW + 1000 * DAY_S)
    assert excesses(engine, NOW) == [0.0]


def test_a_dump_stays_one_when_the_clock_is_set_back_in_the_middle(engine: Engine) -> None:
    before = excesses(engine, *[NOW] * 50)[-1]
    (after,) = excesses(engine, NOW - 1800)
    assert after > before


def test_what_was_agreed_gives_a_hospital_more(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(update(sites).where(sites.c.id == 2).values(contract_per_day=1000.0))
    small, large = excesses(engine, *[NOW] * 50), excesses(engine, *[NOW] * 50, site_id=2)
    assert large[-1] < small[-1] / 5


def test_what_was_sent_lately_counts_and_a_dump_of_today_does_not(engine: Engine) -> None:
    fresh = excesses(engine, *[NOW] * 40)[-1]
    assert excesses(engine, *[NOW] * 40, site_id=2)[-1] == pytest.approx(fresh)
    # A day later the forty are its usual volume.
    assert excesses(engine, *[NOW + DAY_S] * 40)[-1] < fresh
    # After four weeks they are forgotten.
    later = NOW + (TRAILING_DAYS + 2) * DAY_S
    assert excesses(engine, *[later] * 40, site_id=2)[-1] == pytest.approx(fresh, rel=0.05)


def test_without_any_volume_there_is_nothing_to_exceed(engine: Engine) -> None:
    rule = {"growth": 0.15, "pool_share": 0.0, "burst_minutes": 15}
    assert excesses(engine, *[NOW] * 20, policy=a_policy(allowance=rule)) == [0.0] * 20


def test_every_case_is_counted_on_its_day(engine: Engine) -> None:
    excesses(engine, NOW, NOW, NOW + DAY_S)
    with reading(engine) as connection:
        counts = select(site_days.c.cases).order_by(site_days.c.day)
        assert connection.execute(counts).scalars().all() == [2, 1]
        assert connection.execute(select(func.count()).select_from(allowances)).scalar() == 1


def test_the_default_pool_is_made_where_it_is_missing(database: str, tmp_path: Path) -> None:
    made = a_database(tmp_path / "empty.sqlite")
    with writing(made) as connection:
        connection.execute(sites.insert().values(id=1, code="one", name="one", created_at=NOW))
        pool = sender_of(connection, 1, NOW).pool
        assert (pool.code, pool.is_open) == ("default", True)
        assert sender_of(connection, 1, NOW).pool == pool
    made.dispose()


def test_a_hospital_of_a_pool_of_its_own_is_charged_there(engine: Engine) -> None:
    with writing(engine) as connection:
        large = _add_pool(connection)
        connection.execute(update(sites).where(sites.c.id == 2).values(pool_id=large.id))
        assert sender_of(connection, 2, NOW).pool == large
    assert excesses(engine, *[NOW] * 20, site_id=2)[-1] == 0 < excesses(engine, *[NOW] * 20)[-1]


def _add_pool(connection: Connection) -> Pool:
    connection.execute(
        pools.insert().values(
            code="large", name="large", readers=40, reading_minutes=10, created_at=NOW
        )
    )
    return find_pool(connection, "large")
