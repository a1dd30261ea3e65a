"""Claims: one reader for a case, as the order says, and given back when nothing is heard."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.accounts.users import activate, deactivate
from serving.database.engine import reading, writing
from serving.errors import Conflict, NotAllowed, NotFound
from serving.service.upkeep import Upkeep
from serving.settings import Settings
from serving.studies.claims import Reader, claims_of, next_up, sweep
from serving.worklist.heads import heads_query
from serving.worklist.pools import find_pool
from serving.worklist.states import OrderedClass, ReadingState
from tests.serving.databases import is_postgresql, plan_of
from tests.serving.studies.a_pool import LEASE_S, NOW, APool, many
from tests.serving.worklist.cases import ACase, a_finding

STAT, URGENT, ROUTINE = OrderedClass.STAT, OrderedClass.URGENT, OrderedClass.ROUTINE


@pytest.fixture
def pool(database: str, tmp_path: Path) -> Iterator[APool]:
    made = APool(tmp_path)
    yield made
    made.close()


def test_readers_get_the_cases_one_after_the_other_in_the_order_of_their_classes(
    pool: APool,
) -> None:
    wanted = pool.add(
        ACase(name="late", arrived_at=NOW - 60),
        ACase(name="early", arrived_at=NOW - 600),
        ACase(name="urgent", ordered_class=URGENT, arrived_at=NOW),
        ACase(name="critical", findings=(a_finding(20.0),), arrived_at=NOW),
        ACase(name="stat", ordered_class=STAT, arrived_at=NOW),
    )
    one, two = pool.reader("one"), pool.reader("two")
    found = [pool.next(reader) for reader in (one, two, one, two, one, two)]
    assert [claim and claim.case_id for claim in found] == [
        wanted[4], wanted[3], wanted[2], wanted[1], wanted[0], None,
    ]  # fmt: skip


def test_within_a_class_a_hospitals_excess_counts_and_not_who_came_first(pool: APool) -> None:
    first, second = pool.add(
        ACase(arrived_at=NOW - 600, excess_min=20), ACase(arrived_at=NOW - 60, site_id=2)
    )
    reader = pool.reader("one")
    found = [pool.next(reader) for _ in range(2)]
    assert [claim and claim.case_id for claim in found] == [second, first]


def test_a_claim_says_who_holds_what_until_when_and_why(pool: APool) -> None:
    (case_id,) = pool.add(ACase(arrived_at=NOW - 60))
    reader = pool.reader("one")
    claim = pool.next(reader)
    assert claim is not None
    assert (claim.holder, claim.lease_until, claim.fence, claim.version) == (
        "one", NOW + LEASE_S, 1, 2,
    )  # fmt: skip
    assert (claim.rule, claim.overdue_s, claim.credit_before, claim.credit_after) == (
        "class", 60 - 7200, 0.0, 0.25,
    )  # fmt: skip
    assert pool.kinds(case_id) == ["claimed"]
    (decision,) = pool.decisions()
    assert (decision["case_id"], decision["fence"], decision["pool_version"]) == (case_id, 1, 1)
    assert decision["rules"] == pool.policy.version
    with reading(pool.engine) as connection:
        assert claims_of(connection, reader.user_id) == (claim,)
        assert find_pool(connection, "default").credit == 0.25


def test_the_token_goes_to_the_most_overdue_of_a_lower_class_and_names_whom_it_passed(
    pool: APool,
) -> None:
    urgent, overdue = pool.add(
        ACase(ordered_class=URGENT, arrived_at=NOW), ACase(arrived_at=NOW - 9000)
    )
    pool.set_credit(0.75)
    claim = pool.next(pool.reader("one"))
    assert claim is not None
    assert (claim.case_id, claim.rule, claim.passed_case_id) == (overdue, "token", urgent)
    assert (claim.credit_before, claim.credit_after, claim.overdue_s) == (0.75, 0.0, 1800)


def test_what_a_reader_may_not_read_is_not_his_next_and_keeps_its_token(pool: APool) -> None:
    head, chest = pool.add(
        ACase(key_id=pool.head, pool_id=pool.closed, arrived_at=NOW - 9000),
        ACase(pool_id=pool.closed, ordered_class=URGENT, arrived_at=NOW),
    )
    pool.set_credit(1.25)
    one, two = pool.reader("one"), pool.reader("two")
    pool.may_read(one, 1)
    pool.may_read(two, 1, pool.head)
    first, second = pool.next(one, pool="closed"), pool.next(two, pool="closed")
    assert first is not None
    assert second is not None
    assert (first.case_id, first.rule, first.credit_after) == (chest, "class", 1.25)
    assert (second.case_id, pool.next(one, pool="closed")) == (head, None)


def test_a_reader_of_one_hospital_gets_that_hospitals_cases_alone(pool: APool) -> None:
    _, own = pool.add(ACase(site_id=2, ordered_class=STAT), ACase(site_id=1))
    reader = pool.reader("one", site_id=1)
    claim = pool.next(reader)
    assert claim is not None
    assert (claim.case_id, pool.next(reader)) == (own, None)


def test_a_case_for_which_nobody_has_applied_is_nobodys_next(pool: APool) -> None:
    (case_id,) = pool.add(ACase(reading_state=ReadingState.UNAPPLIED))
    reader = pool.reader("one")
    assert pool.next(reader) is None
    with pytest.raises(Conflict) as caught:
        pool.take(case_id, reader)
    assert caught.value.code == "case-not-waiting"


def test_who_asks_where_he_reads_nothing_or_where_nothing_is_is_told_so(pool: APool) -> None:
    pool.add(ACase(pool_id=pool.closed))
    reader = pool.reader("one")
    with pytest.raises(NotAllowed) as caught:
        pool.next(reader, pool="closed")
    assert caught.value.code == "not-qualified"
    with pytest.raises(NotFound) as unknown:
        pool.next(reader, pool="nowhere")
    assert unknown.value.code == "pool-unknown"
    assert pool.next(reader) is None
    assert pool.decisions() == []


def test_a_chosen_case_is_logged_as_chosen_and_costs_no_credit(pool: APool) -> None:
    first, second = pool.add(ACase(arrived_at=NOW - 60), ACase(arrived_at=NOW))
    reader = pool.reader("one")
    claim = pool.take(second, reader)
    assert (claim.case_id, claim.rule, claim.credit_after) == (second, "chosen", 0.0)
    assert pool.take(second, reader) == claim
    again = pool.next(reader)
    assert again is not None
    assert again.case_id == first


def test_whoever_comes_second_is_told_who_holds_the_case(pool: APool) -> None:
    (case_id,) = pool.add(ACase())
    one, two = pool.reader("one"), pool.reader("two")
    pool.take(case_id, one)
    with pytest.raises(Conflict) as caught:
        pool.take(case_id, two)
    assert caught.value.code == "case-held"
    assert caught.value.current == {
        "case_id": case_id, "version": 2, "reading_state": "claimed", "fence": 1,
        "holder": "one", "lease_until": NOW + LEASE_S,
    }  # fmt: skip


def test_a_case_that_changed_since_it_was_seen_is_not_claimed(pool: APool) -> None:
    (case_id,) = pool.add(ACase())
    with pytest.raises(Conflict) as caught:
        pool.take(case_id, pool.reader("one"), version=7)
    assert (caught.value.code, caught.value.current["version"]) == ("case-changed", 1)


def test_nobody_chooses_what_he_may_not_read_or_see(pool: APool) -> None:
    head, foreign = pool.add(ACase(key_id=pool.head, pool_id=pool.closed), ACase(site_id=2))
    reader = pool.reader("one", site_id=1)
    pool.may_read(reader, 1)
    with pytest.raises(NotAllowed):
        pool.take(head, reader)
    with pytest.raises(NotFound):
        pool.take(foreign, reader)


def test_a_heartbeat_keeps_a_case_and_silence_gives_it_to_the_next(pool: APool) -> None:
    (case_id,) = pool.add(ACase())
    one, two = pool.reader("one"), pool.reader("two")
    claim = pool.next(one)
    assert claim is not None
    later = pool.beat(claim, one, NOW + 800)
    assert later.lease_until == NOW + 800 + LEASE_S
    assert pool.next(two, NOW + LEASE_S + 1) is None
    taken = pool.next(two, NOW + 800 + LEASE_S)
    assert taken is not None
    assert (taken.case_id, taken.fence) == (case_id, 3)
    assert pool.kinds(case_id) == ["claimed", "lease-ended", "claimed"]
    with pytest.raises(Conflict) as caught:
        pool.beat(claim, one, NOW + 800 + LEASE_S)
    assert (caught.value.code, caught.value.current["holder"]) == ("fence-stale", "two")


def test_a_lease_that_is_over_is_not_revived_though_nobody_has_looked(pool: APool) -> None:
    pool.add(ACase())
    reader = pool.reader("one")
    claim = pool.next(reader)
    assert claim is not None
    with pytest.raises(Conflict) as caught:
        pool.beat(claim, reader, NOW + LEASE_S)
    assert caught.value.code == "fence-stale"


def test_a_released_case_waits_in_its_old_place_and_the_old_fence_opens_nothing(
    pool: APool,
) -> None:
    first, _ = pool.add(ACase(arrived_at=NOW - 60), ACase(arrived_at=NOW))
    one, two = pool.reader("one"), pool.reader("two")
    claim = pool.next(one)
    assert claim is not None
    before = pool.case(first)["fair_due_at"]
    pool.release(claim, one)
    pool.release(claim, one)
    row = pool.case(first)
    assert (row["reading_state"], row["holder_id"], row["fair_due_at"]) == ("routed", None, before)
    again = pool.next(two)
    assert again is not None
    assert again.case_id == first
    for write in (pool.beat, pool.release):
        with pytest.raises(Conflict) as caught:
            write(claim, one)
        assert caught.value.code == "fence-stale"
    # Not even with the fence of who holds it now.
    with pytest.raises(Conflict):
        pool.release(again, one)
    assert pool.case(first)["holder_id"] == two.user_id


def test_an_older_claim_of_the_same_reader_changes_nothing_either(pool: APool) -> None:
    (case_id,) = pool.add(ACase())
    reader = pool.reader("one")
    old = pool.next(reader)
    assert old is not None
    pool.release(old, reader)
    new = pool.next(reader)
    for write in (pool.beat, pool.release):
        with pytest.raises(Conflict) as caught:
            write(old, reader)
        assert caught.value.code == "fence-stale"
    assert new is not None
    assert pool.case(case_id)["fence"] == new.fence == 3


def test_neither_an_arrival_nor_a_class_takes_a_case_from_its_holder(pool: APool) -> None:
    (held,) = pool.add(ACase())
    one, two = pool.reader("one"), pool.reader("two")
    claim = pool.next(one)
    assert claim is not None
    (stat,) = pool.add(ACase(ordered_class=STAT))
    with writing(pool.engine) as connection:
        connection.exec_driver_sql("UPDATE cases SET class_rank = 0, version = version + 1")
    other = pool.next(two)
    assert other is not None
    assert other.case_id == stat
    assert pool.beat(claim, one).case_id == held


def test_the_cases_of_an_account_that_was_closed_wait_again_at_once(pool: APool) -> None:
    (case_id,) = pool.add(ACase())
    one, two = pool.reader("one"), pool.reader("two")
    claim = pool.next(one)
    assert claim is not None
    with writing(pool.engine) as connection:
        deactivate(connection, one.user_id)
    with pytest.raises(NotAllowed) as caught:
        pool.next(one)
    assert caught.value.code == "not-allowed"
    again = pool.next(two)
    assert again is not None
    assert again.case_id == case_id
    with writing(pool.engine) as connection:
        activate(connection, one.user_id)
    with pytest.raises(Conflict):
        pool.beat(claim, one)


def test_nobody_of_no_account_claims(pool: APool) -> None:
    with pytest.raises(NotAllowed):
        pool.next(Reader(999))


def test_a_clock_that_is_set_back_ends_no_lease_and_one_that_was_ahead_keeps_none_for_ever(
    pool: APool,
) -> None:
    pool.add(ACase())
    one, two = pool.reader("one"), pool.reader("two")
    claim = pool.next(one)
    assert claim is not None
    assert pool.next(two, NOW - 600) is None
    assert pool.beat(claim, one, NOW - 600).lease_until == NOW - 600 + LEASE_S
    assert pool.next(two, NOW - 1_000_000) is not None
    assert [row["pool_version"] for row in pool.decisions()] == [1, 2]


def test_a_request_that_is_sent_again_gets_the_same_claim(pool: APool) -> None:
    first, second = pool.add(ACase(arrived_at=NOW - 60), ACase(arrived_at=NOW))
    one, two = pool.reader("one"), pool.reader("two")
    claim = pool.next(one, key="a")
    assert claim is not None
    assert pool.next(one, NOW + 1, key="a") == claim
    other = pool.next(two, key="a")
    assert other is not None
    assert (claim.case_id, other.case_id) == (first, second)
    with pytest.raises(Conflict) as caught:
        pool.take(second, one, request_key="a")
    assert caught.value.code == "idempotency-key-reused"
    pool.release(claim, one)
    with pytest.raises(Conflict) as over:
        pool.next(one, key="a")
    assert over.value.code == "idempotency-key-reused"


def test_the_next_ten_are_those_that_are_handed_out_with_the_same_rules(pool: APool) -> None:
    wanted = [
        *many(6, ordered_class=URGENT),
        *(ACase(case_id=f"r{n}", arrived_at=NOW - 9000 + n) for n in range(6)),
    ]
    pool.add(*wanted)
    pool.set_credit(0.5)
    reader = pool.reader("one")
    with reading(pool.engine) as connection:
        coming = next_up(connection, pool.policy, "default", reader, now=NOW)
    found = [pool.next(reader) for _ in range(10)]
    assert [(one.case_id, one.rule) for one in coming] == [
        (claim.case_id, claim.rule) for claim in found if claim
    ]
    assert {one.rule for one in coming} == {"class", "token"}


def test_what_is_over_is_taken_back_once(pool: APool) -> None:
    pool.add(*many(3))
    reader = pool.reader("one")
    for _ in range(3):
        pool.next(reader, NOW)
    assert sweep(pool.engine, NOW + 1, LEASE_S) == 0
    assert sweep(pool.engine, NOW + LEASE_S, LEASE_S) == 3
    assert sweep(pool.engine, NOW + LEASE_S, LEASE_S) == 0


def test_a_workers_upkeep_takes_back_what_is_over(pool: APool) -> None:
    (case_id,) = pool.add(ACase())
    pool.next(pool.reader("one"))
    settings = Settings(data=pool.folder, claim_s=LEASE_S)
    Upkeep(settings, pool.engine, lambda: NOW + LEASE_S).look_after()
    assert pool.case(case_id)["reading_state"] == "routed"


def test_the_heads_are_seeks_in_the_index_of_those_that_wait(pool: APool) -> None:
    query = heads_query(1, [1, 2])
    statement = str(query.compile(pool.engine, compile_kwargs={"literal_binds": True}))
    plan = plan_of(pool.engine, statement)
    assert plan.count("ix_cases_routed") == 10
    assert "TEMP B-TREE" not in plan
    assert "Seq Scan" not in plan
    if not is_postgresql():
        assert "SCAN cases" not in plan
