"""UIDs from content: valid, stable, and never the same for other content."""

import re

from hypothesis import given
from hypothesis import strategies as st

from firstread.uids import uid_from

parts = st.lists(st.text(max_size=20), min_size=1, max_size=4)


@given(parts)
def test_a_uid_is_valid_and_the_same_every_time(content: list[str]) -> None:
    uid = uid_from(*content)
    assert re.fullmatch(r"2\.25\.(0|[1-9]\d*)", uid)
    assert len(uid) <= 44
    assert uid == uid_from(*content)


@given(parts, parts)
def test_other_parts_give_another_uid(one: list[str], other: list[str]) -> None:
    assert (uid_from(*one) == uid_from(*other)) == (one == other)


def test_where_parts_end_matters() -> None:
    assert uid_from("ab", "c") != uid_from("a", "bc")
