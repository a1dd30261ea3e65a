"""Whatever readers do in whatever order: the store decides as a list in memory and order.py do."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from firstread.errors import FirstreadError
from serving.database.engine import reading
from serving.errors import Conflict
from serving.studies.claims import Claim, Reader, sweep
from serving.worklist.order import Key, choose, heads_of
from serving.worklist.pools import find_pool
from serving.worklist.states import OrderedClass
from tests.serving.studies.a_pool import LEASE_S, NOW, APool
from tests.serving.worklist.cases import ACase

CASES = 12


class Claims(RuleBasedStateMachine):
    """Three readers, of whom each reads another selection of two keys."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.pool = APool(Path(self.folder.name))
        self.readers = [self.pool.reader(name) for name in ("one", "two", "three")]
        self.keys = [{1}, {self.pool.head}, {1, self.pool.head}]
        for reader, keys in zip(self.readers, self.keys, strict=True):
            self.pool.may_read(reader, *keys)
        self.now, self.credit, self.decided = NOW, 0.0, 0
        # Case -> rank, place, key.
        self.waiting: dict[str, tuple[int, Key, int]] = {}
        self.held: dict[str, tuple[Claim, Reader, float]] = {}
        self.places: dict[str, tuple[int, Key, int]] = {}
        self.over: list[tuple[Claim, Reader]] = []

    @rule(
        ordered=st.sampled_from(OrderedClass), is_head=st.booleans(), excess_min=st.integers(0, 9)
    )
    def arrive(self, ordered: OrderedClass, *, is_head: bool, excess_min: int) -> None:
        if len(self.places) == CASES:
            return
        key = self.pool.head if is_head else 1
        # In another order than they come.
        name = f"c{7 * len(self.places) % 13:02d}"
        case = ACase(
            case_id=name,
            pool_id=self.pool.closed, key_id=key, ordered_class=ordered, arrived_at=self.now,
            excess_min=excess_min,
        )  # fmt: skip
        (case_id,) = self.pool.add(case)
        row = self.pool.case(case_id)
        place = (row["fair_due_at"], row["arrived_at"], case_id)
        self.waiting[case_id] = self.places[case_id] = (row["class_rank"], place, key)

    @rule(who=st.integers(0, 2))
    def take_next(self, who: int) -> None:
        self._end_leases()
        mine = [(rank, at) for rank, at, key in self.waiting.values() if key in self.keys[who]]
        heads = heads_of(mine)
        choice = choose(heads, self.credit, self.pool.policy.token.share, self.now)
        claim = self.pool.next(self.readers[who], self.now, "closed")
        if choice is None:
            assert claim is None
            return
        head = heads[choice.rank]
        assert head is not None
        assert claim is not None
        assert (claim.case_id, claim.rule) == (head[2], choice.rule.value)
        assert claim.credit_before == self.credit
        self.credit = choice.credit
        self._hold(claim, who)

    @precondition(lambda self: self.places)
    @rule(data=st.data(), who=st.integers(0, 2))
    def take(self, data: st.DataObject, who: int) -> None:
        # He sees the case as it waits again; else its end were a change that he does not know.
        self.look_after()
        case_id = data.draw(st.sampled_from(sorted(self.places)))
        reader = self.readers[who]
        version = self.pool.case(case_id)["version"]
        holder = self.held[case_id][1] if case_id in self.held else None
        if holder is None and self.places[case_id][2] not in self.keys[who]:
            expected = "not-qualified"
        else:
            expected = "" if holder in (None, reader) else "case-held"
        if expected:
            with pytest.raises(FirstreadError) as caught:
                self.pool.take(case_id, reader, version, self.now)
            assert caught.value.code == expected
            return
        claim = self.pool.take(case_id, reader, version, self.now)
        if holder is None:
            self._hold(claim, who)
        else:
            assert self.held[case_id][:2] == (claim, reader)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), does_release=st.booleans())
    def speak(self, data: st.DataObject, *, does_release: bool) -> None:
        claim, reader, until = self.held[data.draw(st.sampled_from(sorted(self.held)))]
        if does_release:
            self.pool.release(claim, reader, self.now)
            self._give_back(claim.case_id)
        elif self.now < until:
            later = self.pool.beat(claim, reader, self.now)
            self.held[claim.case_id] = (later, reader, later.lease_until)

    @precondition(lambda self: self.over)
    @rule(data=st.data())
    def speak_too_late(self, data: st.DataObject) -> None:
        claim, reader = data.draw(st.sampled_from(self.over))
        with pytest.raises(Conflict) as caught:
            self.pool.beat(claim, reader, self.now)
        assert caught.value.code == "fence-stale"

    @rule(seconds=st.sampled_from([-60, 30, 600, 4000, 9000]))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def look_after(self) -> None:
        self._end_leases()
        sweep(self.pool.engine, self.now, LEASE_S)

    @invariant()
    def agrees(self) -> None:
        with reading(self.pool.engine) as connection:
            pool = find_pool(connection, "closed")
        assert (pool.credit, pool.version) == (self.credit, self.decided)
        rows = self.pool.decisions()
        assert [row["pool_version"] for row in rows] == list(range(1, self.decided + 1))
        assert len({(row["case_id"], row["fence"]) for row in rows}) == self.decided
        for case_id, (_, reader, _) in self.held.items():
            assert self.pool.case(case_id)["holder_id"] == reader.user_id

    def teardown(self) -> None:
        if hasattr(self, "pool"):
            self.pool.close()
            self.folder.cleanup()

    def _hold(self, claim: Claim, who: int) -> None:
        del self.waiting[claim.case_id]
        self.held[claim.case_id] = (claim, self.readers[who], claim.lease_until)
        self.decided += 1

    def _end_leases(self) -> None:
        for case_id, (_, _, until) in list(self.held.items()):
            if until <= self.now or until > self.now + 2 * LEASE_S:
                self._give_back(case_id)

    def _give_back(self, case_id: str) -> None:
        claim, reader, _ = self.held.pop(case_id)
        self.over.append((claim, reader))
        self.waiting[case_id] = self.places[case_id]


@pytest.mark.slow
def test_the_store_decides_as_the_order_does(database: str) -> None:
    run_state_machine_as_test(
        Claims,
        settings=settings(
            # Each has a database of its own, and PostgreSQL syncs every step.
            max_examples=60 if database == "sqlite" else 12,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
