"""What a source may put into a result, and what it may not."""

from dataclasses import replace

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement

from inference.dicom.reader import open_upload
from inference.results.headers import WHITELIST, clean_header, content_moment, plane_header
from tests.inference.results.a_series import Spec, series_folder


def cleaned(spec: Spec) -> Dataset:
    with open_upload([series_folder(spec)]) as upload:
        (study,) = upload.studies
    return clean_header(study.series[0].instances[0], study.codecs)


def test_the_reader_keeps_all_that_a_result_may_carry() -> None:
    from pydicom.datadict import tag_for_keyword

    from inference.dicom.attributes import HEADER

    assert {tag_for_keyword(keyword) for keyword in WHITELIST} <= HEADER


def test_private_elements_sequences_and_free_text_stay_behind() -> None:
    sequence = Dataset()
    sequence.ReferencedSOPInstanceUID = "1.2.3"
    clean = cleaned(Spec(extra={"ReferencedStudySequence": [sequence], "PatientComments": "x"}))
    assert "ReferencedStudySequence" not in clean
    assert "PatientComments" not in clean


def test_chinese_in_gbk_that_is_tagged_latin_arrives_decoded() -> None:
    clean = cleaned(Spec(charset=("ISO_IR 100",), codec="gb18030"))
    assert (str(clean.PatientName), clean.StudyDescription) == ("Zhang^San=张^三", "胸部CT平扫")
    assert clean.SpecificCharacterSet == "ISO_IR 192"


def test_an_escape_of_iso_2022_does_not_reach_the_text() -> None:
    clean = cleaned(Spec(charset=("", "ISO 2022 IR 58"), codec="gb18030"))
    assert str(clean.PatientName) == "Zhang^San=张^三"


def test_absent_type_2_attributes_are_added_empty() -> None:
    clean = cleaned(Spec(extra={"PatientBirthDate": None, "StudyID": None}))
    assert (clean.PatientBirthDate, clean.StudyID) == ("", "")


def test_an_empty_type_1_attribute_is_repaired() -> None:
    assert cleaned(Spec(extra={"LossyImageCompression": ""})).LossyImageCompression == "00"


@pytest.mark.parametrize(
    ("keyword", "written", "kept"),
    [
        ("PatientBirthDate", "1960", ""),
        ("PatientBirthDate", "19600102", "19600102"),
        ("PatientSex", "U", ""),
        ("PatientSex", "F", "F"),
    ],
)
def test_values_that_their_vr_does_not_allow_are_emptied(
    keyword: str, written: str, kept: str
) -> None:
    with open_upload([series_folder(Spec())]) as upload:
        (study,) = upload.studies
    instance = study.series[0].instances[0]
    header = Dataset(dict(instance.header.items()))
    element: object = header.get_item(keyword)
    assert isinstance(element, RawDataElement)
    header[keyword] = element._replace(value=written.encode())
    clean = clean_header(replace(instance, header=header), study.codecs)
    assert clean[keyword].value == kept


def test_the_source_header_stays_raw() -> None:
    with open_upload([series_folder(Spec())]) as upload:
        (study,) = upload.studies
    instance = study.series[0].instances[0]
    first = plane_header(instance, instance.frames[0], study.codecs)
    again = plane_header(instance, instance.frames[0], study.codecs)
    assert first == again
    assert str(first.PatientName) == "Zhang^San=张^三"


def test_a_plane_of_a_multi_frame_instance_has_its_geometry_at_the_top() -> None:
    spec = Spec(is_multi_frame=True)
    with open_upload([series_folder(spec)]) as upload:
        (study,) = upload.studies
    (instance,) = study.series[0].instances
    plane = plane_header(instance, instance.frames[3], study.codecs)
    own = dcmread(series_folder(spec) / "multi").PerFrameFunctionalGroupsSequence[3]
    assert plane.ImagePositionPatient == own.PlanePositionSequence[0].ImagePositionPatient
    assert plane.PixelSpacing == [0.9, 0.8]


def dated(**values: str) -> Dataset:
    header = Dataset()
    for keyword, value in values.items():
        setattr(header, keyword, value)
    return header


@pytest.mark.parametrize(
    ("headers", "moment"),
    [
        (
            [
                dated(ContentDate="20260102", ContentTime="080000"),
                dated(ContentDate="20260102", ContentTime="093000.5"),
            ],
            ("20260102", "093000.5"),
        ),
        ([dated(ContentDate="20260102")], ("20260102", "000000")),
        (
            [dated(ContentDate="", AcquisitionDate="20250101", AcquisitionTime="1000")],
            ("20250101", "1000"),
        ),
        ([dated(StudyDate="20240101", StudyTime="0900")], ("20240101", "0900")),
        ([dated()], ("19000101", "000000")),
    ],
)
def test_a_result_is_dated_by_the_newest_content_of_its_source(
    headers: list[Dataset], moment: tuple[str, str]
) -> None:
    assert content_moment(headers) == moment
