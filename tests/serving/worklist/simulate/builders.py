"""Small sets of cases and a pool for tests of the simulator."""

import numpy as np
from hypothesis import strategies as st

from serving.worklist.simulate.cases import ROUTINE, Cases, Pool, flat_day
from serving.worklist.simulate.reading import Reading
from serving.worklist.simulate.theory import Detector
from serving.worklist.simulate.traffic import Traffic

USUAL = Detector(prevalence=0.1, sensitivity=0.9, specificity=0.9)


def a_pool(readers: int = 2) -> Pool:
    return Pool(readers, 10.0, flat_day(0.8), (0.05, 0.03, 0.01))


def some_traffic(readers: int = 4, load: float = 0.9, hospitals: int = 40) -> Traffic:
    return Traffic(readers, load, Reading(), USUAL, hospitals)


def cases_of(seed: int, n: int) -> Cases:
    """Return cases of every class at whole minutes, so that many things happen at once."""
    rng = np.random.default_rng(seed)
    return Cases(
        np.sort(rng.integers(0, 5 * n, n)).astype(float),
        rng.integers(0, 3, n),
        rng.choice([0, 2, ROUTINE, 4], n),
        rng.random(n) < 0.3,
        rng.random(n) < 0.3,
        rng.integers(1, 40, n).astype(float),
    )


some_cases = st.builds(cases_of, st.integers(0, 10**6), st.integers(1, 40))
