"""Every listener hears what it may hear: once, in order, or that it must load anew."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from serving.database.engine import reading, writing
from serving.events import hub as hub_module
from serving.events.hub import MOST_TOLD_AGAIN, MOST_WAITING, Hub, Listener, Signal
from serving.events.log import Event, Kind, history, last_id, record, tail
from tests.serving.databases import a_database, gone
from tests.serving.worklist.cases import ACase, add_cases, add_sites

SOON_S = 2.0


@pytest.fixture
def engine(database: str, tmp_path: Path) -> Iterator[Engine]:
    made = a_database(tmp_path / "events.sqlite")
    with writing(made) as connection:
        add_sites(connection, 2)
        add_cases(connection, [ACase(case_id="one", site_id=1), ACase(case_id="two", site_id=2)])
    yield made
    made.dispose()


def say(engine: Engine, case_id: str, version: int = 1) -> None:
    site_id = {"one": 1, "two": 2}[case_id]
    with writing(engine) as connection:
        record(
            connection, case_id, site_id, version, Kind.RECEIVED, details={"instances": 1}, at=1.0
        )


async def heard(listener: Listener) -> list[str | Signal]:
    """Return what a listener is told until its queue stays empty, without the pings."""
    found: list[str | Signal] = []
    try:
        while True:
            told = await asyncio.wait_for(listener.queue.get(), 0.35)
            if isinstance(told.what, Event):
                found.append(told.what.case_id)
            elif told.what is not Signal.PING:
                found.append(told.what)
    except TimeoutError:
        return found


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


def test_a_change_is_heard_within_a_second_by_all_who_may_see_it(engine: Engine) -> None:
    async def test() -> None:
        hub = Hub(engine)
        async with hub.listen(None, 0) as all_sites, hub.listen(1, 0) as first:
            for listener in (all_sites, first):
                assert (await listener.queue.get()).what is Signal.PING
            await asyncio.to_thread(say, engine, "two")
            await asyncio.to_thread(say, engine, "one")
            told = await asyncio.wait_for(all_sites.queue.get(), 1)
            assert isinstance(told.what, Event)
            assert told.what.case_id == "two"
            assert await heard(all_sites) == ["one"]
            assert await heard(first) == ["one"]

    run(test)


def test_who_comes_back_hears_what_it_missed_and_nothing_twice(engine: Engine) -> None:
    for case_id in ("one", "two", "one"):
        say(engine, case_id)

    async def test() -> None:
        hub = Hub(engine)
        async with hub.listen(None, 1) as listener:
            await asyncio.to_thread(say, engine, "two")
            assert await heard(listener) == ["two", "one", "two"]
        async with hub.listen(2, 0) as listener:
            assert await heard(listener) == ["two", "two"]

    run(test)


@pytest.mark.slow
def test_who_sees_one_site_is_told_no_number_that_counts_another_s_events(engine: Engine) -> None:
    for case_id in ("one", "two", "two"):
        say(engine, case_id)

    async def test() -> None:
        hub = Hub(engine, ping_every_s=0.05)
        async with hub.listen(1, 1) as listener:
            await asyncio.to_thread(say, engine, "two")
            positions = {(await listener.queue.get()).position for _ in range(10)}
            assert positions == {1}
        # Nor is the other site's newest one known to be one.
        async with hub.listen(1, 3) as listener:
            assert (await listener.queue.get()).what is Signal.RELOAD

    run(test)


@pytest.mark.parametrize("after", [10**6, -1])
def test_a_page_of_another_log_is_told_to_load_anew(engine: Engine, after: int) -> None:
    async def test() -> None:
        async with Hub(engine).listen(None, after) as listener:
            assert await heard(listener) == [Signal.RELOAD]

    run(test)


def test_who_missed_too_much_is_told_to_load_anew(engine: Engine) -> None:
    with writing(engine) as connection:
        for _ in range(MOST_TOLD_AGAIN + 1):
            record(connection, "one", 1, 1, Kind.RECEIVED, details={"instances": 1}, at=1.0)

    async def test() -> None:
        async with Hub(engine).listen(None, 0) as listener:
            assert await heard(listener) == [Signal.RELOAD]

    run(test)


def test_a_listener_that_takes_nothing_holds_a_bounded_queue_and_then_loads_anew() -> None:
    async def test() -> None:
        listener = Listener(None)
        for number in range(3 * MOST_WAITING):
            listener.tell(Event(number, "one", 1, 1, "received", {}, 1.0))
            assert listener.queue.qsize() <= MOST_WAITING
        first = listener.queue.get_nowait()
        assert first.what is Signal.RELOAD

    run(test)


@pytest.mark.slow
def test_pings_stop_when_the_log_cannot_be_read(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "LOOK_EVERY_S", 0.02)

    async def test() -> None:
        hub = Hub(engine, ping_every_s=0.05)
        async with hub.listen(None, 0) as listener:
            for _ in range(3):
                assert (await asyncio.wait_for(listener.queue.get(), 1)).what is Signal.PING
            with writing(engine) as connection:
                connection.execute(text("ALTER TABLE events RENAME TO elsewhere"))
            await asyncio.sleep(0.2)
            while not listener.queue.empty():
                listener.queue.get_nowait()
            await asyncio.sleep(0.3)
            assert listener.queue.empty()
            with writing(engine) as connection:
                connection.execute(text("ALTER TABLE elsewhere RENAME TO events"))
            told = await asyncio.wait_for(listener.queue.get(), 3)
            assert told.what is Signal.PING

    run(test)


@pytest.mark.slow
def test_a_page_is_live_again_after_the_database_was_gone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "LOOK_EVERY_S", 0.02)

    async def test() -> None:
        hub = Hub(engine, ping_every_s=0.05)
        async with hub.listen(None, 0) as listener:
            assert (await asyncio.wait_for(listener.queue.get(), 1)).what is Signal.PING
            with gone(engine):
                await asyncio.sleep(0.3)
                while not listener.queue.empty():
                    listener.queue.get_nowait()
                await asyncio.sleep(0.2)
                assert listener.queue.empty()
            told = await asyncio.wait_for(listener.queue.get(), 3)
            assert told.what is Signal.PING

    run(test)


def test_a_closed_hub_ends_every_stream(engine: Engine) -> None:
    async def test() -> None:
        hub = Hub(engine)
        async with hub.listen(None, 0) as listener:
            hub.close()
            assert await heard(listener) == [Signal.END]

    run(test)


def test_the_tail_reads_in_order_and_the_history_is_one_cases_own(engine: Engine) -> None:
    for version, case_id in enumerate(("one", "two", "one"), 1):
        say(engine, case_id, version)
    with reading(engine) as connection:
        assert [event.case_id for event in tail(connection, 0, 2)] == ["one", "two"]
        assert [event.version for event in tail(connection, 2, 9)] == [3]
        assert [event.version for event in history(connection, "one")] == [1, 3]
        assert last_id(connection) == 3
