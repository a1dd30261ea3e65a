"""The demonstration's studies: of the day on which they are made, and kept."""

from datetime import date
from pathlib import Path

import pydicom

from serving.service.demonstration import STUDIES, make_study


def test_a_study_is_of_the_day_on_which_it_is_made_and_stays_so(tmp_path: Path) -> None:
    place = make_study(STUDIES[0], tmp_path, date(2026, 3, 1))
    files = {path.name: path.read_bytes() for path in place.iterdir()}
    a_file = next(place.glob("*.dcm"))
    assert pydicom.dcmread(a_file, stop_before_pixels=True).StudyDate == "20260301"
    assert make_study(STUDIES[0], tmp_path, date(2026, 3, 2)) == place
    assert {path.name: path.read_bytes() for path in place.iterdir()} == files
