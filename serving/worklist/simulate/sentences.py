"""A reference day, its figures and its promises, as whoever runs a department reads them."""

from collections.abc import Sequence
from statistics import fmean

from firstread.messages import Language, sentence
from serving.worklist.simulate.guarantees import IN_TIME, Kept
from serving.worklist.simulate.scenarios import Name, Scenario
from serving.worklist.simulate.theory import Detector


def day_sentences(name: Name, scenario: Scenario, language: Language) -> tuple[str, ...]:
    """Return what the day is, and what it is compared with."""
    detector = Detector(scenario.prevalence, scenario.sensitivity, scenario.specificity)
    flagged = scenario.flagged_share
    day = sentence(
        f"order.day.{name}",
        language,
        readers=scenario.readers,
        days=scenario.days,
        load=fmean(scenario.day_loads),
        peak=max(scenario.day_loads),
        flagged=100 * (detector.flagged_share if flagged is None else flagged),
        dumped=scenario.dump_cases,
    )
    return day, sentence("order.fifo", language)


def figure_sentence(figure: str, by_seed: Sequence[float], language: Language) -> str:
    """Return a figure with its unit: the mean over the seeds, the best and the worst of them."""
    is_share = figure == IN_TIME
    scale = 100 if is_share else 1
    best, worst = (max, min) if is_share else (min, max)
    return sentence(
        f"order.figure.{figure}",
        language,
        mean=scale * fmean(by_seed),
        best=scale * best(by_seed),
        worst=scale * worst(by_seed),
    )


def promise_sentence(kept: Kept, language: Language) -> str:
    """Return a promise with what was measured."""
    promise = kept.promise
    scale = 100 if promise.figure == IN_TIME else 1
    return sentence(
        f"order.promise.{promise.figure}.{promise.form}",
        language,
        limit=scale * promise.limit,
        measured=scale * kept.measured,
    )
