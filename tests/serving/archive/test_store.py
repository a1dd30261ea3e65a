"""The store keeps bytes under their hash, whole or not at all."""

import hashlib
import os
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.archive.store import STALE_S, Store
from serving.errors import ObjectDamaged, Unavailable


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def objects(store: Store) -> set[str]:
    return {path.name for path in store.folder.rglob("*") if len(path.name) == 64}


def temporary(store: Store) -> list[Path]:
    return list((store.folder / "tmp").iterdir())


@settings(max_examples=25)
@given(
    chunks=st.lists(st.binary(max_size=2000), max_size=5),
    of_one=st.integers(0, 5000),
    of_all=st.integers(0, 5000),
)
def test_what_was_kept_reads_back_under_its_hash(
    chunks: list[bytes], of_one: int, of_all: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wherever memory ends and the temporary file begins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving.archive.store.IN_MEMORY_BYTES", of_one)
        patch.setattr("serving.archive.store.ALL_IN_MEMORY_BYTES", of_all)
        store = Store(tmp_path_factory.mktemp("store"))
        data = b"".join(chunks)
        with store.new() as incoming:
            for chunk in chunks:
                incoming.write(chunk)
            with incoming.open() as stream:
                assert stream.read() == data
            (stored,) = store.keep(incoming)
    assert stored.sha256 == hashlib.sha256(data).hexdigest()
    assert stored.size_bytes == len(data)
    assert store.read(stored.sha256) == data
    assert store.check(stored.sha256).read_bytes() == data


def test_the_place_of_an_object_is_made_of_its_hash(store: Store) -> None:
    key = store.put_bytes(b"abc").sha256
    assert store.path(key) == store.folder / key[:2] / key


def test_what_is_not_kept_is_gone(store: Store) -> None:
    with store.new() as incoming:
        incoming.write(b"abc")
        assert incoming.open().read() == b"abc"
    assert not temporary(store)
    assert not objects(store)


def test_what_waits_in_memory_is_bounded_for_one_and_for_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.archive.store.IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr("serving.archive.store.ALL_IN_MEMORY_BYTES", 2500)
    crowded = Store(store.folder)

    def in_files(*sizes: int) -> int:
        with ExitStack() as stack:
            for size in sizes:
                stack.enter_context(crowded.new()).write(bytes(size))
            return len(temporary(crowded))

    for _ in range(3):
        # Whatever became of those before, the room that they took is there again.
        assert in_files(1000, 1000, 500) == 0
        assert in_files(1000, 1001, 1000) == 1
        assert in_files(1000, 1000, 501) == 1
        with crowded.new() as kept, crowded.new() as kept_later:
            kept.write(bytes(1000))
            kept_later.write(b"1" * 1000)
            crowded.keep(kept, kept_later)
    crowded.close()


def test_an_error_in_the_block_leaves_nothing(store: Store) -> None:
    def fails_on_the_way() -> None:
        with store.new() as incoming:
            incoming.write(b"abc")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails_on_the_way()
    assert not temporary(store)


def test_many_are_kept_at_once_in_their_order(store: Store) -> None:
    with ExitStack() as stack:
        all_of_them = [stack.enter_context(store.new()) for _ in range(40)]
        for number, incoming in enumerate(all_of_them):
            incoming.write(b"%d" % number)
            incoming.close()
        kept = store.keep(*all_of_them)
    assert [store.read(one.sha256) for one in kept] == [b"%d" % n for n in range(40)]
    assert not temporary(store)
    store.close()


def test_the_same_bytes_are_kept_once(store: Store) -> None:
    first, second = store.put_bytes(b"abc"), store.put_bytes(b"abc")
    assert first == second
    assert len(objects(store)) == 1


def test_a_resend_heals_a_damaged_object(store: Store) -> None:
    key = store.put_bytes(b"abc").sha256
    store.path(key).write_bytes(b"abd")
    store.put_bytes(b"abc")
    assert store.read(key) == b"abc"


@pytest.mark.parametrize("bytes_now", [b"abd", b"", b"abcd"])
def test_damaged_bytes_are_never_read(store: Store, bytes_now: bytes) -> None:
    key = store.put_bytes(b"abc").sha256
    store.path(key).write_bytes(bytes_now)
    for read in (store.read, store.check):
        with pytest.raises(ObjectDamaged):
            read(key)


def test_an_absent_object_is_a_damaged_one(store: Store) -> None:
    with pytest.raises(ObjectDamaged, match="not in the store"):
        store.read("0" * 64)


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_a_key_that_is_no_hash_leads_nowhere(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        store.path(key)


def test_sweeping_takes_what_dead_processes_left(store: Store) -> None:
    code = (
        "import os, sys; from pathlib import Path; from serving.archive.store import Store;"
        "new = Store(Path(sys.argv[1])).new(); new.__enter__().write(bytes(2 << 20)); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(store.folder)], check=False, timeout=60)
    assert len(temporary(store)) == 1
    with store.new() as incoming:
        incoming.write(b"mine")
        assert store.sweep() == 1
        (kept,) = store.keep(incoming)
    assert store.read(kept.sha256) == b"mine"


def test_sweeping_takes_what_another_machine_left_after_a_day_only(store: Store) -> None:
    left = store.folder / "tmp" / "other-machine.1.abc"
    left.write_bytes(b"x")
    assert store.sweep() == 0
    assert store.sweep(time.time() + STALE_S + 60) == 1


@pytest.mark.parametrize("size", [200_000, 2_000_000], ids=["in-memory", "in-a-file"])
def test_a_full_disk_is_unavailable_and_leaves_nothing(store: Store, size: int) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(Unavailable, match="cannot be written"):
            store.put_bytes(b"x" * size)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not temporary(store)
    assert store.read(store.put_bytes(b"x" * size).sha256) == b"x" * size


def test_a_store_that_cannot_be_synced_keeps_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with store.new() as first, store.new() as second:
        first.write(b"a")
        second.write(b"b")
        monkeypatch.setattr(os, "fsync", fails)
        with pytest.raises(Unavailable, match="Input/output"):
            store.keep(first, second)
    assert not objects(store)
    assert not temporary(store)
    store.close()


def test_free_bytes_are_those_of_the_folder(store: Store) -> None:
    assert 0 < store.free_bytes() < 1 << 50
