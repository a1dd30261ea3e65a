"""How much of what was sent is kept to decide character sets."""

from dataclasses import replace
from pathlib import Path

import pytest

from serving.studies.arrival import VOTING_BYTES, InstanceFacts, read_facts
from serving.studies.texts import Votes, with_votes
from tests.serving.studies.a_study import an_instance

MOST_BYTES = 64 * 1024


@pytest.fixture
def facts(tmp_path: Path) -> InstanceFacts:
    path = tmp_path / "one"
    path.write_bytes(an_instance())
    return read_facts(path)


def size(votes: Votes) -> int:
    return sum(len(value) for of in votes.values() for kind in of for value in of[kind])


def test_votes_of_a_hostile_study_stay_small_however_often_it_sends(facts: InstanceFacts) -> None:
    votes: Votes = {}
    for number in range(300):
        long = b"\xb0" * (VOTING_BYTES - 4) + b"%04d" % number
        votes = with_votes(votes, [replace(facts, names=frozenset([long]), texts=frozenset())])
    assert MOST_BYTES - VOTING_BYTES < size(votes) <= MOST_BYTES


def test_declared_sets_of_a_study_are_bounded(facts: InstanceFacts) -> None:
    hostile = (replace(facts, declared=(f"ISO_IR {number}",)) for number in range(300))
    assert len(with_votes({}, hostile)) == 16


def test_what_voted_once_does_not_take_room_again(facts: InstanceFacts) -> None:
    one = replace(facts, names=frozenset([b"\xcd\xf5"]))
    assert with_votes(with_votes({}, [one]), [one] * 9) == with_votes({}, [one])
