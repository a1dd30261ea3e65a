"""The formulas give the numbers of the literature's forms, and the laws that bind them.

The tables: prevalence 0.1, sensitivity and specificity 0.9, reading 10 minutes, so 18 % flagged.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.worklist.simulate import theory
from serving.worklist.simulate.theory import Detector, Station

USUAL = Detector(0.1, 0.9, 0.9)

# readers, traffic: Erlang's C; FIFO mean, p95; strict AI+, AI-, diseased, others; saved, lost;
# p95 AI+, p95 and p99 AI-; preemptive AI+, AI-.
TABLE = """
1 0.5  0.5     10     46.05  5.495  10.99  6.044  10.44  3.956 0.4396 25.3  51.61 90.09 0.989 11.98
1 0.8  0.8     40     138.6  9.346  46.73  13.08  42.99  26.92 2.991  32.39 165.6 263.8 1.682 48.41
1 0.9  0.9     90     289    10.74  107.4  20.41  97.73  69.59 7.733  34.49 349.5 545.7 1.933 109.3
1 0.95 0.95    190    588.9  11.46  229.2  33.23  207.4  156.8 17.42  35.52 715.3 1108  2.063 231.3
4 0.5  0.1739  0.8696 6.233  0.4778 0.9556 0.5256 0.9078 0.344 0.03822 3.425 6.752 16.19 \
0.001474 1.06
4 0.8  0.5964  7.455  30.99  1.742  8.71   2.439  8.013  5.017 0.5574 7.24  36.93 61.46 \
0.008796 9.09
4 0.9  0.7878  19.69  68.93  2.35   23.5   4.465  21.39  15.23 1.692  8.225 83.31 132.4 \
0.01368 24.01
4 0.95 0.8914  44.57  144    2.688  53.76  7.796  48.66  36.78 4.086  8.688 174.9 273.1 \
0.01674 54.35
8 0.5  0.05904 0.1476 0.4156 0.0811 0.1622 0.08921 0.1541 0.0584 0.006488 0.2284 0.4216 4.904 \
1.316e-06 0.18
8 0.8  0.4576  2.86   13.84  0.6683 3.341  0.9356 3.074  1.925 0.2139 3.233 16.45 28.71 \
4.147e-05 3.488
8 0.9  0.7015  8.769  33.02  1.046  10.46  1.988  9.523  6.781 0.7534 3.94  39.89 64.42 \
9.614e-05 10.69
8 0.95 0.8442  21.1   70.66  1.273  25.46  3.691  23.04  17.41 1.935  4.262 85.81 134.9 \
0.0001409 25.74
24 0.5  0.001574 0.001312 0  0.0007208 0.001442 0.0007929 0.00137 0.000519 5.767e-05 0 0 0 \
9.950e-18 0.0016
24 0.8  0.2175 0.4531 3.063  0.1059 0.5294 0.1482 0.487 0.3049 0.03388 0.7156 3.596 7.681 \
2.438e-13 0.5526
24 0.9  0.5159 2.15   9.725  0.2565 2.565  0.4874 2.334 1.662 0.1847 1.16  11.73 19.91 \
2.789e-12 2.622
24 0.95 0.7335 6.112  22.38  0.3687 7.373  1.069  6.673 5.043 0.5604 1.35  27.18 43.53 \
8.406e-12 7.454
"""
# Se, Sp at 4 readers, traffic 0.9: flagged; AI+, AI-, diseased, others; saved, lost.
POINTS = """
1    1    0.1   2.164 21.64 2.164 21.64 17.53 1.948
0.99 0.95 0.144 2.263 22.63 2.466 21.61 17.23 1.914
0.95 0.9  0.185 2.363 23.63 3.426 21.5  16.27 1.808
0.9  0.95 0.135 2.242 22.42 4.259 21.41 15.43 1.715
0.9  0.9  0.18  2.35  23.5  4.465 21.39 15.23 1.692
0.9  0.8  0.27  2.602 26.02 4.943 21.33 14.75 1.639
0.9  0.5  0.54  3.831 38.31 7.28  21.07 12.41 1.379
0.9  0.15 0.855 8.544 85.44 16.23 20.08 3.46  0.3845
0.8  0.9  0.17  2.325 23.25 6.51  21.16 13.18 1.465
0.7  0.95 0.115 2.197 21.97 8.128 20.98 11.57 1.285
0.5  0.9  0.14  2.253 22.53 12.39 20.51 7.301 0.8112
0.5  0.5  0.5   3.581 35.81 19.69 19.69 0     0
"""
# One reader: cv, traffic, FIFO, AI+, AI-.
ONE_READER = """
0   0.5 5 2.747 5.495
0   0.8 20 4.673 23.36
0   0.9 45 5.37 53.7
0   0.95 95 5.73 114.6
0.5 0.5 6.25 3.434 6.868
0.5 0.8 25 5.841 29.21
0.5 0.9 56.25 6.712 67.12
0.5 0.95 118.7 7.162 143.2
1.5 0.5 16.25 8.929 17.86
1.5 0.8 65 15.19 75.93
1.5 0.9 146.3 17.45 174.5
1.5 0.95 308.7 18.62 372.4
"""

traffics = st.floats(0.05, 0.99)
detectors = st.builds(Detector, st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(0.01, 0.99))


def rows(table: str) -> list[list[float]]:
    return [[float(word) for word in line.split()] for line in table.strip().splitlines()]


def printed(value: float) -> object:
    """Four digits, as they are printed; a minute's fraction of 1e-20 is nothing."""
    return pytest.approx(value, rel=6e-4, abs=1e-20)


@pytest.mark.parametrize("row", rows(TABLE), ids=lambda row: f"{row[0]:g} readers, {row[1]:g}")
def test_waits_of_a_pool(row: list[float]) -> None:
    station = Station(int(row[0]), row[1], 10.0)
    share = USUAL.flagged_share
    strict = theory.means(station, USUAL)
    first, second = theory.flagged_tail(station, share), theory.unflagged_tail(station, share)
    found = [
        theory.erlang_c(station.readers, station.traffic),
        theory.fifo_mean_min(station),
        theory.quantile_min(theory.fifo_tail(station), 0.95),
        *(strict.ai_positive, strict.ai_negative, strict.diseased, strict.non_diseased),
        *(theory.saved_min(station, USUAL), theory.lost_min(station, USUAL)),
        theory.quantile_min(first, 0.95),
        *(theory.quantile_min(second, 0.95), theory.quantile_min(second, 0.99)),
        *theory.preemptive_means_min(station, share),
    ]
    assert found == [printed(value) for value in row[2:]]


@pytest.mark.parametrize("row", rows(POINTS), ids=lambda row: f"Se {row[0]:g}, Sp {row[1]:g}")
def test_waits_at_an_operating_point(row: list[float]) -> None:
    station, detector = Station(4, 0.9, 10.0), Detector(0.1, row[0], row[1])
    found = theory.means(station, detector)
    assert [
        detector.flagged_share,
        *(found.ai_positive, found.ai_negative, found.diseased, found.non_diseased),
        *(theory.saved_min(station, detector), theory.lost_min(station, detector)),
    ] == [pytest.approx(value, rel=6e-4, abs=1e-12) for value in row[2:]]


@pytest.mark.parametrize("row", rows(ONE_READER), ids=lambda row: f"cv {row[0]:g}, {row[1]:g}")
def test_waits_of_one_reader_with_any_reading_time(row: list[float]) -> None:
    station = Station(1, row[1], 10.0, cv=row[0])
    found = theory.means(station, USUAL)
    assert [theory.fifo_mean_min(station), found.ai_positive, found.ai_negative] == [
        printed(value) for value in row[2:]
    ]


@given(st.integers(1, 40), traffics, detectors, st.booleans())
def test_an_order_moves_minutes_between_cases_and_makes_none(
    readers: int, traffic: float, detector: Detector, is_preemptive: bool
) -> None:
    station = Station(readers, traffic, 10.0)
    found = theory.means(station, detector, is_preemptive=is_preemptive)
    assert found.all == pytest.approx(theory.fifo_mean_min(station))
    assert found.all == pytest.approx(
        detector.prevalence * found.diseased + (1 - detector.prevalence) * found.non_diseased
    )


@given(st.integers(1, 40), traffics, detectors)
def test_the_diseased_gain_exactly_where_the_ai_finds_more_than_it_flags(
    readers: int, traffic: float, detector: Detector
) -> None:
    station = Station(readers, traffic, 10.0)
    strict, fifo = theory.means(station, detector), theory.fifo_mean_min(station)
    assert theory.saved_min(station, detector) == pytest.approx(fifo - strict.diseased, abs=1e-9)
    assert theory.lost_min(station, detector) == pytest.approx(strict.non_diseased - fifo, abs=1e-9)
    gain = detector.sensitivity - detector.flagged_share
    assert theory.saved_min(station, detector) * gain >= 0


def test_three_classes_wait_in_their_order() -> None:
    station = Station(4, 0.9, 10.0)
    first, second, third = theory.priority_means_min(station, (0.1, 0.3, 0.5))
    assert first < second < third
    mean = (0.1 * first + 0.3 * second + 0.5 * third) / 0.9
    assert mean == pytest.approx(theory.fifo_mean_min(station))


@pytest.mark.parametrize(("readers", "traffic", "cv"), [(4, 1.0, 1.0), (4, 0.0, 1.0), (2, 0.5, 0)])
def test_where_there_is_no_formula_there_is_no_number(
    readers: int, traffic: float, cv: float
) -> None:
    with pytest.raises(ValueError, match=r"steady state|no exact formula"):
        Station(readers, traffic, 10.0, cv)
