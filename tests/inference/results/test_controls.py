"""Each fault of a list, put into our own good files, turns the conformance check red.

A check that never fails proves nothing. The list is that of docs/results.md, "Controls"; where the
stranger's checks are at hand they must see each fault too.
"""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.pixels.utils import pack_bits
from pydicom.tag import Tag
from pydicom.uid import UID

from inference.gate.reasons import Code, Reason, Status, Verdict
from inference.results.analysis import Analysis
from tests.conformance import check, check_no_shared_uid, check_twins
from tests.conformance_sr import child, children, every_item
from tests.inference.results.a_series import (
    SERIES_UID,
    Spec,
    an_analysis,
    not_scored,
    numbers_of,
    series_folder,
    written,
)
from tests.shared import SHARED

Change = Callable[[Path], None]
Json = dict[str, Any]

GOOD = Spec(charset=("GB18030",), codec="gb18030")
LATIN = Spec(charset=("ISO_IR 100",), codec="latin-1", name="Müller^Jörg", description="CT Thorax")
DOUBLED = Spec(doubled_slice=8)
LOCALIZER = Spec(has_localizer=True)
BARE = Spec(extra=dict.fromkeys(("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"), ""))
NOT_CT = Spec(extra={"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"})

ELSEWHERE = "1.2.826.0.1.99"


def json_change(change: Callable[[Json], None]) -> Change:
    """A change to findings.json."""

    def apply(out: Path) -> None:
        path = out / "findings.json"
        document = json.loads(path.read_text("utf-8"))
        change(document)
        path.write_text(json.dumps(document, ensure_ascii=False), "utf-8")

    return apply


def dataset_change(name: str, change: Callable[[Dataset], None]) -> Change:
    """A change to a DICOM file."""

    def apply(out: Path) -> None:
        dataset = pydicom.dcmread(out / name)
        change(dataset)
        dataset.save_as(out / name)

    return apply


def seg_change(change: Callable[[Dataset], None]) -> Change:
    return dataset_change("seg.dcm", change)


def sr_change(change: Callable[[Dataset], None]) -> Change:
    return dataset_change("sr.dcm", change)


def both(*changes: Change) -> Change:
    def apply(out: Path) -> None:
        for change in changes:
            change(out)

    return apply


def pixel_change(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """A change to the SEG's frames, (n, rows, columns)."""

    def apply(seg: Dataset) -> None:
        seg.PixelData = pack_bits(np.ascontiguousarray(change(seg.pixel_array)))

    return seg_change(apply)


def dilated(frames: np.ndarray) -> np.ndarray:
    grown = frames.copy()
    grown[:, 1:] |= frames[:, :-1]
    grown[:, :-1] |= frames[:, 1:]
    return grown


def last_first(seg: Dataset) -> None:
    packed = np.frombuffer(seg.PixelData, np.uint8)
    seg.PixelData = np.packbits(np.unpackbits(packed, bitorder="little")).tobytes()


def groups_of(sr: Dataset, template: str) -> list[Dataset]:
    return [
        group
        for group in children(child(sr, "126010"), "125007")
        if group.ContentTemplateSequence[0].TemplateIdentifier == template
    ]


def shift_all_frames(seg: Dataset) -> None:
    """Move every frame to the next slice, reference and position together."""
    planes = an_analysis(GOOD).slices
    order = [instance.sop_instance_uid for instance, _ in planes]
    for own in seg.PerFrameFunctionalGroupsSequence:
        source = own.DerivationImageSequence[0].SourceImageSequence[0]
        z = order.index(source.ReferencedSOPInstanceUID) + 1
        source.ReferencedSOPInstanceUID = order[z]
        position = planes[z][1].position_lps_mm
        assert position is not None
        own.PlanePositionSequence[0].ImagePositionPatient = list(position)
    listed = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    for item, z in zip(
        listed, range(order.index(listed[0].ReferencedSOPInstanceUID), 99), strict=False
    ):
        item.ReferencedSOPInstanceUID = order[z + 1]


def shift_first_frame(seg: Dataset) -> None:
    place = seg.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    x, y, z = place.ImagePositionPatient
    place.ImagePositionPatient = [x, y, float(z) + 2.5]


def swap_spacing(seg: Dataset) -> None:
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = measures.PixelSpacing[::-1]


def assign_frame(seg: Dataset) -> None:
    own = seg.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0]
    own.ReferencedSegmentNumber = 2


def foreign_frame(seg: Dataset) -> None:
    source = seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence
    source[0].ReferencedSOPInstanceUID = ELSEWHERE


def swap_tracking(seg: Dataset) -> None:
    one, other = seg.SegmentSequence
    one.TrackingUID, other.TrackingUID = other.TrackingUID, one.TrackingUID


def drop_side(seg: Dataset) -> None:
    del seg.SegmentSequence[0].AnatomicRegionSequence[0].AnatomicRegionModifierSequence


def fractional(seg: Dataset) -> None:
    seg.SegmentationType = "FRACTIONAL"


def label_map(seg: Dataset) -> None:
    seg.SegmentationType = "LABELMAP"
    seg.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.66.7")
    seg.file_meta.MediaStorageSOPClassUID = seg.SOPClassUID


def larger_double(seg: Dataset) -> None:
    """Let the frames of the doubled slice come from its other instance."""
    analysis = an_analysis(DOUBLED)
    used = {instance.sop_instance_uid for instance, _ in analysis.slices}
    (unused,) = {one.sop_instance_uid for one in analysis.instances} - used
    slice_uid = analysis.slices[8][0].sop_instance_uid
    for own in seg.PerFrameFunctionalGroupsSequence:
        source = own.DerivationImageSequence[0].SourceImageSequence[0]
        if source.ReferencedSOPInstanceUID == slice_uid:
            source.ReferencedSOPInstanceUID = unused


def drop_evidence(uid_of: Callable[[Dataset], str]) -> Callable[[Dataset], None]:
    def apply(sr: Dataset) -> None:
        gone = uid_of(sr)
        for study in sr.CurrentRequestedProcedureEvidenceSequence:
            for series in study.ReferencedSeriesSequence:
                series.ReferencedSOPSequence = [
                    one
                    for one in series.ReferencedSOPSequence
                    if one.ReferencedSOPInstanceUID != gone
                ]
            study.ReferencedSeriesSequence = [
                series for series in study.ReferencedSeriesSequence if series.ReferencedSOPSequence
            ]

    return apply


def unused_double(_: Dataset) -> str:
    analysis = an_analysis(DOUBLED)
    used = {instance.sop_instance_uid for instance, _ in analysis.slices}
    return next(
        one.sop_instance_uid for one in analysis.instances if one.sop_instance_uid not in used
    )


def a_slice(_: Dataset) -> str:
    return an_analysis(GOOD).slices[0][0].sop_instance_uid


def the_seg(sr: Dataset) -> str:
    (reference,) = child(groups_of(sr, "1411")[0], "121191").ReferencedSOPSequence
    return str(reference.ReferencedSOPInstanceUID)


def move_outline_to(step: int) -> Callable[[Dataset], None]:
    """Put the first outline on another slice, ``step`` from the key slice."""

    def apply(sr: Dataset) -> None:
        analysis = an_analysis(GOOD)
        key = analysis.findings[0].key_slice
        region = child(groups_of(sr, "1410")[0], "111030")
        reference = region.ContentSequence[0].ReferencedSOPSequence[0]
        reference.ReferencedSOPInstanceUID = analysis.slices[key + step][0].sop_instance_uid

    return apply


def move_outline_by(pixels: float) -> Callable[[Dataset], None]:
    def apply(sr: Dataset) -> None:
        region = child(groups_of(sr, "1410")[0], "111030")
        region.GraphicData = [float(value) + pixels for value in region.GraphicData]

    return apply


def set_number(template: str, concept: str, value: float) -> Callable[[Dataset], None]:
    def apply(sr: Dataset) -> None:
        number = child(groups_of(sr, template)[0], concept)
        number.MeasuredValueSequence[0].NumericValue = f"{value:g}"

    return apply


def unit_ml(sr: Dataset) -> None:
    number = child(groups_of(sr, "1411")[0], "118565006")
    number.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue = "ml"


def swap_diameters(sr: Dataset) -> None:
    one, other = (
        child(group, "81827009").MeasuredValueSequence[0] for group in groups_of(sr, "1410")
    )
    one.NumericValue, other.NumericValue = other.NumericValue, one.NumericValue


def other_side(sr: Dataset) -> None:
    side = child(child(groups_of(sr, "1411")[0], "363698007"), "272741003").ConceptCodeSequence[0]
    side.CodeValue = "7771000" if side.CodeValue == "24028007" else "24028007"


def drop_items(template: str, *concepts: str) -> Callable[[Dataset], None]:
    def apply(sr: Dataset) -> None:
        group = groups_of(sr, template)[0]
        group.ContentSequence = [
            item
            for item in group.ContentSequence
            if item.ConceptNameCodeSequence[0].CodeValue not in concepts
        ]

    return apply


def drop_root_items(*concepts: str) -> Callable[[Dataset], None]:
    def apply(sr: Dataset) -> None:
        sr.ContentSequence = [
            item
            for item in sr.ContentSequence
            if item.ConceptNameCodeSequence[0].CodeValue not in concepts
        ]

    return apply


def drop_finding(sr: Dataset) -> None:
    container = child(sr, "126010")
    uid = child(groups_of(sr, "1411")[0], "112040").UID
    container.ContentSequence = [
        group for group in container.ContentSequence if uid != child(group, "112040").UID
    ]


def number_in_exam(sr: Dataset) -> None:
    (exam,) = groups_of(sr, "1501")
    exam.ContentSequence.append(child(groups_of(sr, "1411")[0], "111012"))


def summary_without(sr: Dataset) -> None:
    (exam,) = groups_of(sr, "1501")
    child(exam, "111017").ConceptCodeSequence[0].CodeValue = "111241"


def wrong_segment(sr: Dataset) -> None:
    (reference,) = child(groups_of(sr, "1411")[0], "121191").ReferencedSOPSequence
    reference.ReferencedSegmentNumber = 2


def other_tracking(sr: Dataset) -> None:
    uid = child(groups_of(sr, "1411")[0], "112040").UID
    for item in every_item(sr):
        if item.get("UID") == uid:
            item.UID = ELSEWHERE


def drop_library_slice(sr: Dataset) -> None:
    analysis = an_analysis(GOOD)
    uid = analysis.slices[analysis.findings[0].key_slice][0].sop_instance_uid
    for group in child(sr, "111028").ContentSequence:
        group.ContentSequence = [
            item
            for item in group.ContentSequence
            if "ReferencedSOPSequence" not in item
            or item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID != uid
        ]


def raw_text(keyword: str, raw: bytes) -> Callable[[Dataset], None]:
    def apply(dataset: Dataset) -> None:
        tag = Tag(keyword)
        padded = raw + b" " * (len(raw) % 2)
        dataset[tag] = RawDataElement(tag, "PN", len(padded), padded, 0, False, True)

    return apply


def value(keyword: str, new: object) -> Callable[[Dataset], None]:
    def apply(dataset: Dataset) -> None:
        setattr(dataset, keyword, new)

    return apply


def declare_gb(dataset: Dataset) -> None:
    # Set as raw bytes, so that pydicom does not encode the texts anew.
    for tag in list(dataset.keys()):
        dataset.get_item(tag)
    tag = Tag("SpecificCharacterSet")
    dataset[tag] = RawDataElement(tag, "CS", 8, b"GB18030 ", 0, False, True)


def private(dataset: Dataset) -> None:
    dataset.private_block(0x0041, "MAKER", create=True).add_new(1, "LO", "x")


def finding(key: str, new: object, index: int = 0) -> Change:
    def change(document: Json) -> None:
        document["findings"][index][key] = new

    return json_change(change)


def path(new: object, *keys: str | int) -> Change:
    def change(document: Json) -> None:
        at: Any = document
        for key in keys[:-1]:
            at = at[key]
        at[keys[-1]] = new

    return json_change(change)


def rounded_to_even(document: Json) -> None:
    one = document["findings"][0]
    one["long_axis_mm"], one["short_axis_mm"], one["mean_diameter_mm"] = 9.4, 9.1, 9.2


def moved(document: Json) -> None:
    document["findings"][0]["centre_lps_mm"][0] += 2.0


def volume_everywhere(document: Json) -> None:
    document["findings"][0]["volume_mm3"] = 500.0


def diameters_everywhere(document: Json) -> None:
    one = document["findings"][0]
    one["long_axis_mm"] = one["short_axis_mm"] = one["mean_diameter_mm"] = 25.0


def unordered(document: Json) -> None:
    document["findings"].reverse()
    for number, one in enumerate(document["findings"], start=1):
        one["id"] = one["segment_number"] = number


def split_ordinary(document: Json) -> None:
    uid = an_analysis(GOOD).slices[0][0].sop_instance_uid
    part = {"why": "localizer", "sop_instance_uids": [uid]}
    document["series_choice"]["split_off"].append(part)
    document["series_choice"]["instances"] -= 1


def count_double(document: Json) -> None:
    """Slices above the double are one too high."""
    for one in document["findings"]:
        one["slices"] = [z + (z > 8) for z in one["slices"]]
        one["key_slice"] += one["key_slice"] > 8


def keep_localizer(document: Json) -> None:
    document["series_choice"]["split_off"] = []
    document["series_choice"]["instances"] += 1


@dataclass(frozen=True)
class Control:
    """A fault, what it is put into, and the rule that must see it."""

    name: str
    change: Change
    rule: str
    spec: Spec = GOOD


CONTROLS = (
    Control("wrong segment number in SR", sr_change(wrong_segment), "sr-segment"),
    Control("frame assigned to other segment", seg_change(assign_frame), "seg-slices"),
    Control("frame position shifted one slice", seg_change(shift_first_frame), "seg-geometry"),
    Control("all frames shifted one slice", seg_change(shift_all_frames), "seg-slices"),
    Control("row and column spacing swapped", seg_change(swap_spacing), "seg-geometry"),
    Control("mask flipped left right", pixel_change(lambda f: f[:, :, ::-1]), "seg-centre"),
    Control("mask flipped up down", pixel_change(lambda f: f[:, ::-1]), "seg-centre"),
    Control("mask shifted two pixels", pixel_change(lambda f: np.roll(f, 2, 2)), "seg-centre"),
    Control("mask dilated by one voxel", pixel_change(dilated), "seg-volume"),
    Control("mask emptied", pixel_change(np.zeros_like), "seg-frames"),
    Control("bits packed MSB first", seg_change(last_first), "seg-hu"),
    Control("slice missing from evidence", sr_change(drop_evidence(a_slice)), "sr-evidence"),
    Control("SEG missing from evidence", sr_change(drop_evidence(the_seg)), "sr-evidence"),
    Control("tracking UID differs SR vs SEG", sr_change(other_tracking), "sr-groups"),
    Control("tracking UIDs swapped in SEG", seg_change(swap_tracking), "seg-tracking"),
    Control(
        "wrong frame of reference",
        seg_change(value("FrameOfReferenceUID", ELSEWHERE)),
        "seg-frame-of-reference",
    ),
    Control("volume in ml", sr_change(unit_ml), "sr-numbers"),
    Control(
        "volume not of the mask everywhere",
        both(json_change(volume_everywhere), sr_change(set_number("1411", "118565006", 500))),
        "seg-volume",
    ),
    Control("diameters swapped between findings", sr_change(swap_diameters), "sr-numbers"),
    Control(
        "diameter wrong everywhere",
        both(
            json_change(diameters_everywhere),
            *(
                sr_change(set_number("1410", concept, 25))
                for concept in ("103339001", "103340004", "81827009")
            ),
        ),
        "seg-axes",
    ),
    Control("laterality code of other side", sr_change(other_side), "sr-codes"),
    Control("laterality missing in SEG", seg_change(drop_side), "seg-codes"),
    Control("charset of the source on UTF-8 text", sr_change(declare_gb), "sr-charset"),
    Control(
        "GBK bytes under ISO_IR 192",
        sr_change(raw_text("PatientName", "Zhang^San=张^三".encode("gbk"))),
        "sr-charset",
    ),
    Control("stale patient name", sr_change(value("PatientName", "Old^Name")), "sr-patient"),
    Control("stale patient ID in SEG", seg_change(value("PatientID", "ID-2")), "seg-patient"),
    Control(
        "name as question marks", seg_change(value("PatientName", "Zhang^San=?^?")), "seg-patient"
    ),
    Control(
        "algorithm version of another package",
        seg_change(
            lambda seg: setattr(
                seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0],
                "AlgorithmVersion",
                "0.9.0",
            )
        ),
        "seg-algorithm",
    ),
    Control(
        "TrackingID of a segment changed",
        seg_change(lambda seg: setattr(seg.SegmentSequence[0], "TrackingID", "x")),
        "seg-tracking",
    ),
    Control(
        "algorithm missing in one SR group",
        sr_change(drop_items("1410", "111001", "111003")),
        "sr-algorithm",
    ),
    Control("device observer UID missing", sr_change(drop_root_items("121012")), "sr-observer"),
    Control("outline on a slice outside", sr_change(move_outline_to(6)), "sr-outline"),
    Control("outline on another slice of it", sr_change(move_outline_to(1)), "sr-outline"),
    Control("outline moved 40 pixels", sr_change(move_outline_by(40)), "sr-outline"),
    Control("outline half a pixel off", sr_change(move_outline_by(-0.5)), "sr-outline"),
    Control("summary says no findings", sr_change(summary_without), "sr-exam"),
    Control("one finding dropped from SR", sr_change(drop_finding), "sr-groups"),
    Control("number in the exam group", sr_change(number_in_exam), "sr-numbers"),
    Control("image library missing", sr_change(drop_root_items("111028")), "sr-library"),
    Control("key slice not in the library", sr_change(drop_library_slice), "sr-library"),
    Control("private element", seg_change(private), "seg-private"),
    Control(
        "SEG in the source series",
        seg_change(value("SeriesInstanceUID", SERIES_UID)),
        "seg-series",
    ),
    Control("verified flag", sr_change(value("VerificationFlag", "VERIFIED")), "sr-flags"),
    Control("centre moved 2 mm", json_change(moved), "seg-centre"),
    Control(
        "mean HU off by 20",
        both(finding("mean_hu", 35.0), sr_change(set_number("1411", "112031", 35.0))),
        "seg-hu",
    ),
    Control("frame references foreign instance", seg_change(foreign_frame), "seg-source"),
    Control(
        "segment number gap",
        seg_change(lambda seg: setattr(seg.SegmentSequence[1], "SegmentNumber", 3)),
        "seg-segments",
    ),
    Control(
        "segmented property type missing",
        seg_change(
            lambda seg: delattr(seg.SegmentSequence[0], "SegmentedPropertyTypeCodeSequence")
        ),
        "seg-codes",
    ),
    Control(
        "study UID of another study", sr_change(value("StudyInstanceUID", ELSEWHERE)), "sr-patient"
    ),
    Control("scored false but findings", path(False, "scored"), "json-scored"),
    Control(
        "Latin-1 name misread as GBK",
        sr_change(value("PatientName", "Müller^Jörg".encode("latin-1").decode("gbk"))),
        "sr-patient",
        LATIN,
    ),
    Control("FRACTIONAL instead of BINARY", seg_change(fractional), "seg-class"),
    Control("LABELMAP instead of BINARY", seg_change(label_map), "seg-class"),
    Control("findings out of order of score", json_change(unordered), "json-order"),
    Control("mean diameter rounded to even", json_change(rounded_to_even), "json-mean"),
    Control("size place untrue", path("below", "findings", 0, "intended_size"), "json-size"),
    Control("size range untrue", path(50.0, "package", "intended_size", "least_mm"), "json-size"),
    Control(
        "a note that the report does not have",
        path([{"code": "seen-in-training", "zh": "此", "en": "this"}], "notes"),
        "sr-exam",
    ),
    Control(
        "runtime without precision",
        path({"provider": "x", "version": "1"}, "runtime"),
        "json-schema",
    ),
    Control("candidate above the threshold", path(0.6, "candidates", 0, "score"), "json-scores"),
    Control(
        "candidate in another place",
        path([0.0, 0.0, 0.0], "candidates", 0, "centre_lps_mm"),
        "json-candidate",
    ),
    Control("finding below the threshold", finding("score", 0.4, 1), "json-scores"),
    Control("zone with a free word", finding("zone", "apex"), "json-schema"),
    Control("series UID null, files there", path(None, "series_uid"), "stack-uids"),
    Control("SR null although the CT has UIDs", path(None, "files", "sr"), "json-files"),
    Control(
        "UIDs null although the CT has them",
        both(path(None, "study_uid"), path(None, "series_uid")),
        "stack-uids",
    ),
    Control("ordinary slice split off", json_change(split_ordinary), "stack-split"),
    Control(
        "GBK name read as Latin-1",
        sr_change(value("PatientName", "Zhang^San=张^三".encode("gbk").decode("latin-1"))),
        "sr-patient",
    ),
    Control(
        "slice of a doubled position counted twice",
        json_change(count_double),
        "seg-slices",
        DOUBLED,
    ),
    Control(
        "second of two doubles not in evidence",
        sr_change(drop_evidence(unused_double)),
        "sr-evidence",
        DOUBLED,
    ),
    Control("SEG on the other double", seg_change(larger_double), "seg-source", DOUBLED),
    Control("localizer counted in the stack", json_change(keep_localizer), "stack-kind", LOCALIZER),
)


def stranger_sees(source: Path, out: Path, *more: str) -> bool:
    """Whether the shared check, where there is one, fails too."""
    if not SHARED.is_dir():
        return True
    sys.path.insert(0, str(SHARED / "checks"))
    try:
        import check_results  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    return bool(check_results.main(["--series", str(source), "--out", str(out), *more]) == 1)


def copy_of(analysis: Analysis, place: Path) -> Path:
    shutil.copytree(written(analysis), place)
    return place


@pytest.mark.parametrize(
    "spec",
    [GOOD, *(pytest.param(one, marks=pytest.mark.slow) for one in (LATIN, DOUBLED, LOCALIZER))],
)
def test_the_files_that_the_faults_are_put_into_are_good(spec: Spec) -> None:
    assert check(series_folder(spec), written(an_analysis(spec)), codec=spec.codec) == []


# What the stranger's check has wider limits for, or does not know.
OURS_ALONE = {
    "outline half a pixel off",
    "size place untrue",
    "size range untrue",
    "a note that the report does not have",
}
FAST = {"wrong segment number in SR", "mask dilated by one voxel", "stale patient name"}


@pytest.mark.parametrize(
    "control",
    [
        pytest.param(one, id=one.name, marks=() if one.name in FAST else pytest.mark.slow)
        for one in CONTROLS
    ],
)
def test_a_fault_is_seen(control: Control, tmp_path: Path) -> None:
    out = copy_of(an_analysis(control.spec), tmp_path / "out")
    control.change(out)
    failures = check(series_folder(control.spec), out, codec=control.spec.codec)
    assert control.rule in {failure.split(":")[0] for failure in failures}
    assert control.name in OURS_ALONE or stranger_sees(series_folder(control.spec), out)


@pytest.mark.slow
def test_a_doubled_position_with_other_pixels_that_was_scored_is_seen(tmp_path: Path) -> None:
    source = tmp_path / "ct"
    shutil.copytree(series_folder(DOUBLED), source)
    dataset = pydicom.dcmread(source / "again")
    dataset.PixelData = (np.frombuffer(dataset.PixelData, np.int16) + 1).tobytes()
    dataset.save_as(source / "again")
    out = written(an_analysis(DOUBLED))
    assert any(line.startswith("stack-doubles") for line in check(source, out))
    assert stranger_sees(source, out)


def nothing(code: Code) -> Analysis:
    """Nothing to analyse: no CT that has UIDs."""
    analysis = not_scored(GOOD)
    reason = Reason(code, Status.REFUSE, numbers_of(code))
    return replace(analysis, study=None, series=None, instances=(), verdict=Verdict((reason,)))


NOTHING_CONTROLS = (
    ("invented series UID", path(ELSEWHERE, "series_uid"), BARE, "nothing-uids"),
    ("verdict resend", path("resend", "verdict", "status"), BARE, "nothing-reason"),
    (
        "reason without uids-missing",
        path("not-ct", "verdict", "reasons", 0, "code"),
        BARE,
        "nothing-reason",
    ),
    ("SR named", path("sr.dcm", "files", "sr"), BARE, "nothing-files"),
    ("no CT, study UID from elsewhere", path(ELSEWHERE, "study_uid"), NOT_CT, "nothing-uids"),
)


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "code"), [(BARE, Code.UIDS_MISSING), (NOT_CT, Code.NOT_CT)])
def test_an_output_of_nothing_to_analyse_is_good(spec: Spec, code: Code) -> None:
    assert check(series_folder(spec), written(nothing(code))) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "spec", "rule"),
    [pytest.param(*rest, id=name) for name, *rest in NOTHING_CONTROLS],
)
def test_a_fault_in_an_output_of_nothing_is_seen(
    change: Change, spec: Spec, rule: str, tmp_path: Path
) -> None:
    code = Code.UIDS_MISSING if spec is BARE else Code.NOT_CT
    out = copy_of(nothing(code), tmp_path / "out")
    change(out)
    failures = check(series_folder(spec), out)
    assert rule in {failure.split(":")[0] for failure in failures}
    assert stranger_sees(series_folder(spec), out)


@pytest.mark.slow
def test_an_output_although_nothing_is_readable_is_seen(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not DICOM")
    out = written(nothing(Code.NOT_CT))
    assert check(tmp_path, out) == ["nothing-readable: no output was expected"]
    assert stranger_sees(tmp_path, out)


def now_again(seg: Dataset) -> None:
    seg.InstanceCreationDate = "20260718"


def contributed_now(sr: Dataset) -> None:
    sr.ContributingEquipmentSequence[-1].ContributionDateTime = "20260718101500"


def random_organization(seg: Dataset) -> None:
    seg.DimensionOrganizationSequence[0].DimensionOrganizationUID = ELSEWHERE


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [seg_change(random_organization), seg_change(now_again), sr_change(contributed_now)],
    ids=["random DimensionOrganizationUID", "InstanceCreationDate", "ContributionDateTime"],
)
def test_a_clock_or_chance_between_twins_is_seen(change: Change, tmp_path: Path) -> None:
    good = written(an_analysis(GOOD))
    twin = copy_of(an_analysis(GOOD), tmp_path / "twin")
    assert check_twins(good, twin) == []
    change(twin)
    assert check_twins(good, twin)
    assert stranger_sees(series_folder(GOOD), good, "--twin", str(twin))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "option"),
    [
        (path("1.0.1", "package", "version"), "--other-version"),
        (path("other", "operating_point", "name"), "--other-content"),
        (path("cuda", "runtime", "provider"), "--other-content"),
        (sr_change(value("PatientName", "Corrected^Name")), "--other-content"),
    ],
    ids=["package version", "operating point", "runtime", "corrected name"],
)
def test_other_content_under_old_uids_is_seen(change: Change, option: str, tmp_path: Path) -> None:
    good = written(an_analysis(GOOD))
    other = copy_of(an_analysis(GOOD), tmp_path / "other")
    change(other)
    assert check_no_shared_uid(good, other)
    assert stranger_sees(series_folder(GOOD), good, option, str(other))
