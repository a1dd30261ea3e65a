"""A reference day, its figures and its promises are told in both languages."""

import pytest

from firstread.messages import Language
from serving.worklist.simulate.guarantees import judge, measure
from serving.worklist.simulate.policies import Policy
from serving.worklist.simulate.scenarios import SCENARIOS, Name
from serving.worklist.simulate.sentences import day_sentences, figure_sentence, promise_sentence


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("name", Name)
def test_everything_has_a_sentence(name: Name, language: Language) -> None:
    scenario = SCENARIOS[name]
    days = measure(name, scenario, Policy.FIRSTREAD, 1)
    lines = [*day_sentences(name, scenario, language)]
    lines += [figure_sentence(figure, [value], language) for figure, value in days[0].items()]
    lines += [promise_sentence(kept, language) for kept in judge(name, days)]
    assert len(set(lines)) == len(lines) >= 3
    assert all(line.endswith((".", "\N{IDEOGRAPHIC FULL STOP}")) for line in lines)


def test_the_worst_day_of_a_share_is_its_least_and_of_a_wait_its_most() -> None:
    share = figure_sentence("flagged_in_time_share", [0.95, 1.0], Language.EN)
    assert "97.5 %" in share
    assert "95.0 % in the worst" in share
    wait = figure_sentence("other_hospitals_p95_minutes", [10.0, 30.0], Language.EN)
    assert "20.0 minutes" in wait
    assert "30.0 in the worst" in wait
