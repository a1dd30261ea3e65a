"""Processors: those that are lent to this process, not those of the machine."""

import os

import pytest

from firstread.processors import usable_processors


def test_one_lent_processor_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert usable_processors() == 1


def test_where_the_system_lends_nothing_the_machines_own_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_processors() == 1
