"""The list of studies that somebody must choose from: a study a line, nobody named."""

from pathlib import Path

from inference.dicom.listing import MOST_LISTED, list_studies
from inference.dicom.reader import open_upload
from tests.inference.dicom.raw import ct_file


def listed(folder: Path) -> list[str]:
    with open_upload([folder]) as upload:
        return list_studies(upload.studies).splitlines()


def write(folder: Path, name: str, /, **changed: str | None) -> None:
    (folder / name).write_bytes(ct_file(sop_instance=f"1.2.{name}", **changed))


def test_a_study_is_one_line_and_the_newest_comes_first(tmp_path: Path) -> None:
    write(tmp_path, "1", study="1.2.1", study_date="20240131")
    write(tmp_path, "2", study="1.2.2", study_date="2025.02.28")
    write(tmp_path, "3", study="1.2.2", study_date="20250228", modality="SR")
    write(tmp_path, "4", study="1.2.4", study_date=None)
    assert listed(tmp_path) == [
        "  1.2.2  CT, SR  2 instances  2025-02-28",
        "  1.2.1  CT  1 instance  2024-01-31",
        "  1.2.4  CT  1 instance  no date",
    ]


def test_what_would_not_fit_on_a_screen_is_counted(tmp_path: Path) -> None:
    for number in range(1, MOST_LISTED + 4):
        write(tmp_path, str(number), study=f"1.2.{number}")
    lines = listed(tmp_path)
    assert len(lines) == MOST_LISTED + 1
    assert lines[-1] == "  and 3 more"


def test_no_free_text_stands_in_the_list_wherever_a_sender_put_it(tmp_path: Path) -> None:
    texts = dict.fromkeys(("name", "patient_id", "body_part", "kernel"), "MARKED")
    write(tmp_path, "1", study="1.2.1", study_date="MARKED", modality="MARKED NAME", **texts)
    assert listed(tmp_path) == ["  1.2.1  no modality  1 instance  no date"]
