"""What Firstread scores lies where the files say; what the peers do is as the page describes."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.gate.reasons import Code, Reason, Status, Verdict
from tests.inference.gate.hand import COARSE, THIN
from tests.peers.cases import Case, damaged_scans, geometry_cases
from tests.peers.damage import Line, compare, table
from tests.peers.ours import Judged
from tests.peers.places import Misplacement
from tests.peers.readers import Outcome
from tests.peers.source import read_source
from tests.shared import needs_shared

# About 30 CPU seconds of reading, most of it by the peers; more wall where the machine is busy.
pytestmark = pytest.mark.timeout(900)

# Positions are written to 0.01 mm; far below what moves a finding.
SAME_PLACE_MM = 0.05


def a_line(tmp_path: Path, gaps: int, *, silent: bool = True) -> Line:
    case = Case("some", "slices gone", tmp_path, None)  # type: ignore[arg-type]  # not looked at
    reasons = [
        Reason(Code.SLICES_MISSING, Status.RESEND, {"position_mm": 5.0 * gap, "gap_mm": 10.0})
        for gap in range(gaps)
    ]
    said = () if silent else ("Non uniform sampling",)
    read = (Outcome(None, "", said), Misplacement(4.66, 2.44, 1, 0))
    stopped = (Outcome(None, "RuntimeError: sizes differ", ()), None)
    return Line(case, Judged(Verdict.of(reasons), None), None, read, stopped)


def test_a_row_says_verdict_places_and_silence(tmp_path: Path) -> None:
    row = table([a_line(tmp_path, 1)]).splitlines()[-1]
    assert row == (
        "| `some` | slices gone | **resend**: `slices-missing` (at 0.0 mm, gap 10.0 mm) "
        "| not scored | 4.7 mm, nodule 2.4, 1 left out, silent | stops: RuntimeError |"
    )


def test_a_reader_that_said_something_is_not_called_silent(tmp_path: Path) -> None:
    assert "1 left out, warned" in table([a_line(tmp_path, 1, silent=False)])


def test_many_gaps_are_counted_not_listed(tmp_path: Path) -> None:
    assert "at 10.0 mm, gap 10.0 mm; 4 more)" in table([a_line(tmp_path, 7)])


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Line]:
    """Every made case, and the copies of the real scan on which the readers differ most."""
    wanted = ("shuffled-numbers", "block-10", "scattered-3")
    scans = damaged_scans(tmp_path_factory.mktemp("scans"))
    chosen = [case for case in scans if case.name in wanted]
    return {
        **{line.case.name: line for line in compare(geometry_cases(), COARSE)},
        **{f"scan {line.case.name}": line for line in compare(chosen, THIN)},
    }


def scored(lines: dict[str, Line]) -> Iterator[tuple[str, Misplacement]]:
    return ((name, line.ours) for name, line in lines.items() if line.ours is not None)


@pytest.mark.slow
@needs_shared
def test_what_is_scored_lies_where_its_files_say(lines: dict[str, Line]) -> None:
    assert len(list(scored(lines))) >= 8
    for name, ours in scored(lines):
        assert ours.worst_mm <= SAME_PLACE_MM, name
        assert (ours.left_out, ours.repeated) == (0, 0), name


@pytest.mark.slow
@needs_shared
def test_a_peer_that_closes_a_gap_moves_the_nodule_and_we_do_not_score(
    lines: dict[str, Line],
) -> None:
    line = lines["scan block-10"]
    assert line.judged.verdict.status is Status.RESEND
    for outcome, places in (line.monai, line.simpleitk):
        assert places is not None
        assert places.at_nodule_mm is not None
        assert places.at_nodule_mm > 5.0
        assert bool(outcome.said) == (outcome is line.simpleitk[0])


@pytest.mark.slow
@needs_shared
def test_instance_numbers_move_slices_for_a_peer_and_not_for_us(lines: dict[str, Line]) -> None:
    line = lines["scan shuffled-numbers"]
    assert line.judged.verdict.status is Status.ACCEPT
    assert line.monai[1] is not None
    assert line.monai[1].worst_mm > 100.0


@needs_shared
def test_the_copies_of_the_scan_hold_as_many_slices_as_they_say(tmp_path: Path) -> None:
    count = {case.name: len(list(case.folder.iterdir())) for case in damaged_scans(tmp_path)}
    assert (count["whole"], count["renamed"], count["bottom-60"]) == (133, 133, 73)
    assert {
        count[f"{kind}-{n}"] - (133 - n) for kind in ("block", "scattered") for n in (3, 10, 40)
    } == {0}
    assert (count["every-second"], count["doubled-equal"], count["doubled-other"]) == (67, 134, 134)


@pytest.mark.slow
@needs_shared
def test_a_slice_sent_twice_has_equal_pixels_and_a_false_one_has_not(tmp_path: Path) -> None:
    folders = {case.name: case.folder for case in damaged_scans(tmp_path)}
    for name, digests in (("doubled-equal", 1), ("doubled-other", 2)):
        at_height = defaultdict[float, list[str]](list)
        for one in read_source(folders[name]):
            at_height[one.origin_lps_mm[2]].append(one.digest)
        (twins,) = (found for found in at_height.values() if len(found) > 1)
        assert (len(twins), len(set(twins))) == (2, digests)
