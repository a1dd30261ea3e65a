"""Reasons that single headers give: computed images, repeated UIDs, units, persons."""

from dataclasses import replace

import pytest
from pydicom import DataElement, Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from firstread.messages import Language
from inference.dicom.instance import Instance
from inference.gate.geometry import judge_geometry
from inference.gate.reasons import Code, Number, Reason, Status
from tests.inference.gate.hand import THIN, a_frame, a_series, an_instance, heights, slices_at


def raw(**values: bytes) -> Dataset:
    """Return a header with values as sent, the way the reader keeps them."""
    elements: dict[BaseTag, DataElement | RawDataElement] = {}
    for keyword, value in values.items():
        tag = BaseTag(tag_for_keyword(keyword) or 0)
        elements[tag] = RawDataElement(tag, None, len(value), value, 0, True, True)
    return Dataset(elements)


def judged(instances: list[Instance]) -> tuple[Reason, ...]:
    reasons = judge_geometry(a_series(instances), THIN).reasons
    for reason in reasons:
        assert all(reason.sentence(language) for language in Language)
    return reasons


def found(instances: list[Instance]) -> dict[Code, Status]:
    return {reason.code: reason.status for reason in judged(instances)}


def test_one_projection_among_the_slices_is_refused() -> None:
    instances = slices_at(heights(60))
    instances[40] = replace(instances[40], image_type=("DERIVED", "SECONDARY", "CT_SOM5 MIP"))
    (reason,) = judged(instances)
    assert (reason.code, reason.status) == (Code.IMAGES_COMPUTED, Status.REFUSE)
    assert reason.numbers == {"kind": "projection", "count": 1}


def test_reformats_are_a_limit() -> None:
    image_type = ("DERIVED", "SECONDARY", "MPR")
    assert found(slices_at(heights(60), image_type=image_type)) == {
        Code.IMAGES_COMPUTED: Status.LIMITS
    }


def test_derived_images_that_say_no_more_are_accepted() -> None:
    assert found(slices_at(heights(60), image_type=("DERIVED", "SECONDARY", "AXIAL"))) == {}


def test_one_uid_on_two_slices_is_sent_back() -> None:
    instances = slices_at(heights(60))
    instances[7] = replace(instances[7], sop_instance_uid=instances[20].sop_instance_uid)
    (reason,) = judged(instances)
    assert (reason.code, reason.status) == (Code.UIDS_REPEATED, Status.RESEND)
    places = (heights(60)[52], heights(60)[39])
    assert reason.numbers == {
        "count": 2,
        "uids": 1,
        "position_mm": min(places),
        "to_mm": max(places),
    }


def test_frames_of_one_instance_share_their_uid() -> None:
    frames = [replace(a_frame((0.0, 0.0, z)), number=k + 1) for k, z in enumerate(heights(60))]
    assert judged([an_instance("1.2.9.1", frames)]) == ()


def test_empty_uids_are_missing_and_not_repeated() -> None:
    assert Code.UIDS_REPEATED not in found(slices_at(heights(60), sop_instance_uid=""))


@pytest.mark.parametrize("unit", [b"OD", b"ED ", b"Z_EFF", b"%", "é".encode("latin-1")])
def test_another_unit_is_refused(unit: bytes) -> None:
    (reason,) = judged(slices_at(heights(60), header=raw(RescaleType=unit)))
    assert (reason.code, reason.status) == (Code.HU_IMPLAUSIBLE, Status.REFUSE)
    assert reason.numbers["problem"] == "other-unit"


@pytest.mark.parametrize("unit", [b"", b"HU", b"HU ", b"hu", b"HU_MOD", b"US"])
def test_hounsfield_units_and_no_statement_are_accepted(unit: bytes) -> None:
    assert judged(slices_at(heights(60), header=raw(RescaleType=unit))) == ()


def with_headers(*headers: Dataset, patient_id: str = "") -> list[Instance]:
    slices = slices_at(heights(60), patient_id=patient_id)
    return [replace(i, header=headers[k % len(headers)]) for k, i in enumerate(slices)]


def test_without_ids_another_name_is_another_patient() -> None:
    one, other = raw(PatientName=b"A^B"), raw(PatientName=b"C^D")
    assert found(with_headers(one, other)) == {Code.PATIENT_MIXED: Status.REFUSE}
    assert found(with_headers(one)) == {}
    assert found(with_headers(one, other, patient_id="P1")) == {}


def test_without_ids_another_birth_date_is_another_patient() -> None:
    one = raw(PatientName=b"A^B", PatientBirthDate=b"19500101")
    other = raw(PatientName=b"A^B", PatientBirthDate=b"19800101")
    assert found(with_headers(one, other)) == {Code.PATIENT_MIXED: Status.REFUSE}


def test_padding_of_a_name_is_no_difference() -> None:
    assert found(with_headers(raw(PatientName=b"A^B"), raw(PatientName=b"A^B "))) == {}


def missing(
    announced: bytes, here: int, step_mm: float = 2.5, **changes: object
) -> dict[Code, tuple[Status, Number]]:
    header = raw(NumberOfStudyRelatedInstances=announced)
    slices = slices_at(heights(60, step_mm), header=header, **changes)
    reasons = judge_geometry(a_series(slices), THIN, study_instances=here).reasons
    return {reason.code: (reason.status, reason.numbers["witness"]) for reason in reasons}


def test_a_study_that_lacks_instances_is_a_limit() -> None:
    assert missing(b"70", 65) == {Code.INSTANCES_MISSING: (Status.LIMITS, "study-count")}


@pytest.mark.parametrize(("announced", "here"), [(b"65", 65), (b"60", 65), (b"", 65), (b"x", 65)])
def test_a_study_that_is_whole_gives_no_reason(announced: bytes, here: int) -> None:
    assert missing(announced, here) == {}


def test_a_series_that_is_whole_by_its_own_count_gives_no_reason() -> None:
    assert missing(b"70", 65, announced_series_instances=60) == {}


def test_thin_slices_at_a_distance_in_a_study_that_lacks_as_many_are_thinned() -> None:
    thin = {"plane_slice_thickness_mm": 1.0}
    assert missing(b"200", 80, **thin) == {Code.SLICES_THINNED: (Status.RESEND, "study-count")}
    assert missing(b"80", 80, **thin) == {Code.SLICES_THINNED: (Status.LIMITS, "slice-thickness")}


@pytest.mark.parametrize("number", [10**300, -(10**300)])
def test_numbers_beyond_reason_are_no_witness(number: int) -> None:
    slices = slices_at(heights(60), plane_slice_thickness_mm=1e-310)
    slices[::2] = [replace(i, instance_number=number) for i in slices[::2]]
    slices = [replace(i, announced_series_instances=abs(number)) for i in slices]
    assert judged(slices) == ()
