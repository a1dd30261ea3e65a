"""The table of rights, and what a site's own people see."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import serving
from serving.accounts import caller as module
from serving.accounts.caller import RIGHTS, Caller, Right, Role

SITES = st.integers(1, 9)


def callers(site_ids: st.SearchStrategy[int | None]) -> st.SearchStrategy[Caller]:
    return st.builds(
        Caller,
        kind=st.sampled_from(["user", "token"]),
        id=st.integers(1, 99),
        name=st.just("somebody"),
        role=st.sampled_from(Role),
        site_id=site_ids,
    )


@given(callers(SITES), SITES)
def test_a_caller_of_a_site_sees_that_one_and_no_other(who: Caller, site_id: int) -> None:
    assert who.sees(site_id) == (who.site_id == site_id)


@given(callers(st.none()), SITES)
def test_a_caller_of_no_site_sees_all(who: Caller, site_id: int) -> None:
    assert who.sees(site_id)


@given(callers(st.none() | SITES), st.sampled_from(Right))
def test_nobody_may_more_than_his_role(who: Caller, right: Right) -> None:
    assert not who.may(right) or right in RIGHTS[who.role]


@given(callers(st.none()))
def test_who_belongs_to_no_site_sends_nothing(who: Caller) -> None:
    assert not who.may(Right.SEND)


@given(callers(SITES), st.sampled_from(Right))
def test_within_a_site_the_table_decides(who: Caller, right: Right) -> None:
    assert who.may(right) == (right in RIGHTS[who.role])


@pytest.mark.parametrize("role", [Role.RESEARCHER, Role.MLOPS])
def test_who_needs_no_patients_sees_none(role: Role) -> None:
    assert Right.READ not in RIGHTS[role]


def test_only_an_administrator_administers() -> None:
    assert {role for role, rights in RIGHTS.items() if Right.ADMINISTER in rights} == {Role.ADMIN}


@pytest.mark.parametrize("right", Right)
def test_every_right_is_asked_for_somewhere(right: Right) -> None:
    own = Path(module.__file__)
    sources = (path for path in Path(serving.__path__[0]).rglob("*.py") if path != own)
    assert any(f"caller(Right.{right.name})" in path.read_text("utf-8") for path in sources)


@pytest.mark.parametrize("role", Role)
def test_the_table_that_people_read_is_the_one_that_decides(role: Role) -> None:
    page = (module.__doc__ or "").splitlines()
    (row,) = [line for line in page if line.startswith(f"{role} ")]
    starts = (13, 18, 23, 29)
    columns = {right: row[start : start + 4] for right, start in zip(Right, starts, strict=True)}
    assert {right for right, cell in columns.items() if "yes" in cell} == RIGHTS[role]
