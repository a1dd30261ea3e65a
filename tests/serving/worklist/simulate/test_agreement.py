"""A quick look at the agreement of simulator and theory; ``make bench`` prints the whole grid."""

import numpy as np
import pytest

from serving.worklist.simulate.engine import waits_min
from serving.worklist.simulate.policies import Policy, line_up
from serving.worklist.simulate.preemption import preemptive_waits_min
from serving.worklist.simulate.theory import Station, means
from serving.worklist.simulate.traffic import draw_traffic
from tests.serving.worklist.simulate.builders import USUAL, some_traffic

SEEDS, CASES = 12, 8_000


@pytest.mark.parametrize(
    ("policy", "is_preemptive"), [("fifo", False), ("strict", False), ("strict", True)]
)
def test_four_busy_readers_wait_as_the_formula_says(policy: str, is_preemptive: bool) -> None:
    traffic = some_traffic(readers=4, load=0.8, hospitals=1)
    skipped = traffic.warm_up(CASES)
    read = preemptive_waits_min if is_preemptive else waits_min
    flagged, others = [], []
    for seed in range(SEEDS):
        cases = draw_traffic(traffic, CASES, seed)
        waits = read(cases, line_up(Policy(policy), cases, traffic.pool), 4)[skipped:]
        flagged.append(waits[cases.is_flagged[skipped:]].mean())
        others.append(waits[~cases.is_flagged[skipped:]].mean())
    expected = means(
        Station(4, 0.8, 10.0), USUAL, is_strict=policy == "strict", is_preemptive=is_preemptive
    )
    for found, theory in ((flagged, expected.ai_positive), (others, expected.ai_negative)):
        error = np.std(found, ddof=1) / np.sqrt(SEEDS)
        assert abs(np.mean(found) - theory) < 3 * error
