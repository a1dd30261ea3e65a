"""The whole gate on a made chest, as files."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import pytest

from firstread.messages import Language
from inference.dicom.instance import Study
from inference.dicom.reader import open_upload
from inference.gate.judge import Judgement, judge
from inference.gate.reasons import Code, Status
from models.package import InputContract
from tests.inference.gate.hand import COARSE, THIN, a_series, heights, slices_at, write_chest

Edit = Callable[[pydicom.Dataset], None]


def judged(files: list[Path], contract: InputContract = COARSE) -> Judgement:
    with open_upload(files) as upload:
        (study,) = upload.studies
        (series,) = study.series
        return judge(study, series, contract)


def found(judgement: Judgement) -> dict[Code, Status]:
    return {reason.code: reason.status for reason in judgement.verdict.reasons}


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Slices of a whole chest from the feet up; the lungs are slices 10 to 89."""
    return write_chest(tmp_path_factory.mktemp("chest"))


def edited(file: Path, folder: Path, edit: Edit) -> Path:
    dataset = pydicom.dcmread(file)
    edit(dataset)
    copy = folder / f"{dataset.SOPInstanceUID}.dcm"
    dataset.save_as(copy)
    return copy


def test_a_whole_chest_is_accepted_and_its_lungs_are_found(chest: list[Path]) -> None:
    judgement = judged(chest)
    assert judgement.verdict.reasons == ()
    assert judgement.verdict.status is Status.ACCEPT
    assert judgement.volume is not None
    assert judgement.lungs is not None
    assert len(judgement.instances) == len(chest)


def test_a_chest_without_its_bases_is_limited(chest: list[Path]) -> None:
    judgement = judged(chest[30:])
    reasons = judgement.verdict.reasons
    assert Code.LUNGS_TRUNCATED in found(judgement)
    (reason,) = [r for r in reasons if r.code is Code.LUNGS_TRUNCATED]
    assert reason.numbers["end"] == "feet"


def test_numbers_that_begin_late_where_the_lungs_are_cut_tell_of_more_slices(
    chest: list[Path], tmp_path: Path
) -> None:
    def numbered(k: int) -> Edit:
        return lambda dataset: setattr(dataset, "InstanceNumber", k + 1)  # from the feet up

    files = [edited(file, tmp_path, numbered(k)) for k, file in enumerate(chest)]
    without_bases, without_apices = found(judged(files[30:])), found(judged(files[:70]))
    assert without_bases[Code.INSTANCES_MISSING] is Status.LIMITS
    assert Code.INSTANCES_MISSING not in without_apices


def test_doubles_with_equal_pixels_are_a_limit(chest: list[Path], tmp_path: Path) -> None:
    copy = edited(chest[30], tmp_path, lambda d: setattr(d, "SOPInstanceUID", "1.2.3.4"))
    judgement = judged([*chest, copy])
    assert found(judgement) == {Code.SLICES_DOUBLED: Status.LIMITS}
    assert len(judgement.instances) == len(chest) + 1


def brighten(dataset: pydicom.Dataset) -> None:
    dataset.SOPInstanceUID = "1.2.3.4"
    dataset.PixelData = (dataset.pixel_array + 1).astype(np.uint16).tobytes()


def test_doubles_with_other_pixels_are_resend(chest: list[Path], tmp_path: Path) -> None:
    judgement = judged([*chest, edited(chest[30], tmp_path, brighten)])
    assert found(judgement) == {Code.SLICES_DOUBLED: Status.RESEND}


def test_two_acquisitions_that_only_their_pixels_tell_apart_are_mixed(
    chest: list[Path], tmp_path: Path
) -> None:
    def second(dataset: pydicom.Dataset) -> None:
        uid = f"{dataset.SOPInstanceUID}.2"
        brighten(dataset)
        dataset.SOPInstanceUID = uid

    judgement = judged([*chest, *(edited(file, tmp_path, second) for file in chest)])
    assert found(judgement) == {
        Code.SLICES_DOUBLED: Status.RESEND,
        Code.ACQUISITIONS_MIXED: Status.RESEND,
    }


def another_frame(dataset: pydicom.Dataset) -> None:
    dataset.FrameOfReferenceUID = "1.2.3.4"


@pytest.mark.parametrize(("cut", "status"), [(95, Status.LIMITS), (70, Status.RESEND)])
def test_a_second_frame_of_reference_is_a_limit_only_beside_whole_lungs(
    chest: list[Path], tmp_path: Path, cut: int, status: Status
) -> None:
    rest = [edited(file, tmp_path, another_frame) for file in chest[cut:]]
    judgement = judged([*chest[:cut], *rest])
    assert found(judgement)[Code.FRAME_OF_REFERENCE_MIXED] is status
    assert len(judgement.instances) == cut
    assert sum(len(entry.instances) for entry in judgement.split_off) == 100 - cut


def test_pixels_that_cannot_be_decoded_are_a_reason(chest: list[Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.dcm"
    shutil.copy(chest[30], cut)
    dataset = pydicom.dcmread(cut)
    dataset.PixelData = dataset.PixelData[:100]
    dataset.save_as(cut)
    judgement = judged([*chest[:30], cut, *chest[31:]])
    assert found(judgement) == {Code.PIXELS_UNDECODABLE: Status.REFUSE}
    assert judgement.volume is None
    assert judgement.stack is not None


def test_what_times_tell_is_told_once(chest: list[Path], tmp_path: Path) -> None:
    def acquired(minute: int) -> Edit:
        def edit(dataset: pydicom.Dataset) -> None:
            dataset.AcquisitionTime = f"10{minute:02d}00"
            if minute:
                uid = f"{dataset.SOPInstanceUID}.2"
                brighten(dataset)
                dataset.SOPInstanceUID = uid

        return edit

    files = [edited(file, tmp_path, acquired(minute)) for file in chest for minute in (0, 3)]
    codes = [reason.code for reason in judged(files).verdict.reasons]
    assert codes == [Code.SLICES_DOUBLED, Code.ACQUISITIONS_MIXED]


def test_an_absurd_spacing_is_a_reason(chest: list[Path], tmp_path: Path) -> None:
    def shrink(dataset: pydicom.Dataset) -> None:
        dataset.PixelSpacing = ["1e-310", "1e-310"]

    judgement = judged([edited(file, tmp_path, shrink) for file in chest])
    assert found(judgement) == {Code.ORIENTATION_UNUSABLE: Status.REFUSE}


def test_a_study_that_lacks_instances_is_counted_whole(chest: list[Path], tmp_path: Path) -> None:
    def announce(dataset: pydicom.Dataset) -> None:
        dataset.NumberOfStudyRelatedInstances = len(chest) + 3

    def elsewhere(dataset: pydicom.Dataset) -> None:
        dataset.SOPInstanceUID, dataset.SeriesInstanceUID = "1.2.9.1", "1.2.9"

    files = [edited(file, tmp_path, announce) for file in chest]
    with open_upload([*files, edited(chest[0], tmp_path, elsewhere)]) as upload:
        study = upload.studies[0]
        series = max(study.series, key=lambda series: len(series.instances))
        (reason,) = judge(study, series, COARSE).verdict.reasons
    assert (reason.code, reason.status) == (Code.INSTANCES_MISSING, Status.LIMITS)
    assert reason.numbers["received"] == len(chest) + 1
    assert reason.numbers["missing"] == 2


def test_a_study_without_any_ct_is_no_ct() -> None:
    series = a_series(
        slices_at(heights(3), modality="MR", sop_class_uid="1.2.840.10008.5.1.4.1.1.4")
    )
    judgement = judge(Study("1.2.3", (series,)), None, THIN)
    assert found(judgement) == {Code.NOT_CT: Status.REFUSE}
    assert judgement.series is None
    assert "MR" in judgement.verdict.reasons[0].sentence(Language.EN)


def test_without_a_choice_the_largest_ct_of_the_study_says_why() -> None:
    series = a_series(slices_at(heights(2), image_type=("ORIGINAL", "PRIMARY", "LOCALIZER")))
    judgement = judge(Study("1.2.3", (series,)), None, THIN)
    assert judgement.series is series
    assert found(judgement) == {Code.LOCALIZER_ONLY: Status.REFUSE}


def test_every_stage_is_timed_once(chest: list[Path]) -> None:
    class Names:
        def __init__(self) -> None:
            self.seen: list[str] = []

        @contextmanager
        def stage(self, name: str) -> Iterator[None]:
            self.seen.append(name)
            yield

    names = Names()
    with open_upload(chest) as upload:
        judge(upload.studies[0], upload.studies[0].series[0], COARSE, timings=names)
    assert names.seen == ["geometry", "pixels", "lungs", "content"]
