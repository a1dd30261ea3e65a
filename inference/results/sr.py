"""DICOM SR: Comprehensive 3D SR, TID 1500, for each of the three outcomes of an analysis.

::

    Imaging Measurement Report                                  TID 1500
      Image Library: first, last and key slice of each finding  TID 1600
      Imaging Measurements
        exam level: summary code and comments, no number        TID 1501
        each finding, volumetric: segment, volume, HU, score    TID 1411
        each finding, planar: outline and diameters             TID 1410, same tracking UID

Each number stands once: readers merge the groups of one tracking UID. Why each part is there, and
which viewer fails without it: docs/results.md, "SR".
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydicom import Dataset

from firstread.messages import Language, sentence
from inference.dicom.instance import Frame, Instance
from inference.findings import Finding
from inference.gate.reasons import Reason
from inference.results import codes, headers
from inference.results.analysis import Analysis
from inference.results.document import tracking_id
from inference.results.equipment import (
    MANUFACTURER,
    common_arguments,
    finish,
    model_name,
    serial_number,
)
from inference.results.identity import ResultUids
from inference.results.notes import Note, notes

if TYPE_CHECKING:
    from highdicom.sr import (
        AlgorithmIdentification,
        CodedConcept,
        Comprehensive3DSR,
        FindingSite,
        Measurement,
        MeasurementReport,
        MeasurementsAndQualitativeEvaluations,
        ObservationContext,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        TrackingIdentifier,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )
    from pydicom.sr.coding import Code

SERIES_NUMBER = 9002

Slice = tuple[Instance, Frame]


def build_sr(
    analysis: Analysis, sources: Sequence[Dataset], seg: Dataset | None, uids: ResultUids
) -> "Comprehensive3DSR":
    """Return the report of an analysis whose source has a CT with UIDs, scored or not.

    Parameters
    ----------
    sources
        Cleaned headers of ``analysis.instances``: the evidence, and the patient and study.
    seg
        The segmentation that the findings' groups point to; None where there is no finding.
    """
    from highdicom.sr import Comprehensive3DSR

    scored = analysis.verdict.status.is_scored
    with headers.quiet_about_the_source():
        sr = Comprehensive3DSR(
            evidence=[*sources, *([seg] if seg is not None else [])],
            content=_report(analysis, seg, uids)[0],
            series_instance_uid=uids.sr_series,
            series_number=SERIES_NUMBER,
            sop_instance_uid=uids.sr_instance,
            is_complete=scored,
            is_final=False,
            is_verified=False,
            series_description="AI lung nodules (SR)",
            **common_arguments(analysis, sources),
        )
    finish(sr, uids, sources)
    if not scored:
        sr.CompletionFlagDescription = "Not analysed"
    return sr


def _report(analysis: Analysis, seg: Dataset | None, uids: ResultUids) -> "MeasurementReport":
    from highdicom.sr import LanguageOfContentItemAndDescendants, MeasurementReport

    groups: list[
        MeasurementsAndQualitativeEvaluations
        | VolumetricROIMeasurementsAndQualitativeEvaluations
        | PlanarROIMeasurementsAndQualitativeEvaluations
    ] = [_exam_group(analysis, uids)]
    for finding in analysis.findings:
        assert seg is not None
        groups.append(_volumetric_group(finding, analysis, seg, uids))
        groups.append(_planar_group(finding, analysis, uids))
    library = _library_slices(analysis)
    report = MeasurementReport(
        observation_context=_observation_context(analysis, uids),
        procedure_reported=codes.PROCEDURE,
        imaging_measurements=groups,
        title=codes.REPORT_TITLE,
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(
            _concept(codes.ENGLISH)
        ),
        referenced_images=[_library_header(*plane, analysis) for plane in library],
    )
    _name_library_frames(report[0], library)
    return report


def _concept(code: "Code") -> "CodedConcept":
    from highdicom.sr import CodedConcept

    return CodedConcept.from_code(code)


def _observation_context(analysis: Analysis, uids: ResultUids) -> "ObservationContext":
    from highdicom.sr import (
        DeviceObserverIdentifyingAttributes,
        ObservationContext,
        ObserverContext,
    )

    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=_concept(codes.DEVICE),
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=uids.device,
                name=MANUFACTURER,
                manufacturer_name=MANUFACTURER,
                model_name=model_name(analysis),
                serial_number=serial_number(analysis),
            ),
        )
    )


def _exam_group(analysis: Analysis, uids: ResultUids) -> "MeasurementsAndQualitativeEvaluations":
    """Return what was concluded of the exam: codes and texts, for OHIF fails on a bare number."""
    from highdicom.sr import (
        FindingSite,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        TextContentItem,
        TrackingIdentifier,
    )
    from highdicom.sr.enum import RelationshipTypeValues

    if not analysis.verdict.status.is_scored:
        summary = codes.NOT_SUCCEEDED
    elif analysis.findings:
        summary = codes.SUCCEEDED_WITH_FINDINGS
    else:
        summary = codes.SUCCEEDED_WITHOUT_FINDINGS
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=uids.exam_tracking, identifier="Firstread exam"),
        algorithm_id=_algorithm(analysis),
        finding_sites=[FindingSite(anatomic_location=codes.LUNG)],
        qualitative_evaluations=[
            QualitativeEvaluation(name=_concept(codes.SUMMARY), value=_concept(summary))
        ],
    )
    for text in exam_comments((*analysis.verdict.reasons, *notes(analysis))):
        # highdicom's QualitativeEvaluation takes codes only.
        group[0].ContentSequence.append(
            TextContentItem(
                name=_concept(codes.COMMENT),
                value=text,
                relationship_type=RelationshipTypeValues.CONTAINS,
            )
        )
    return group


def exam_comments(remarks: Sequence[Reason | Note]) -> list[str]:
    """Return the comments on the exam: each of these in two languages, and what it all is not."""
    key = "result.not-a-diagnosis"
    return [
        *(
            f"{remark.code}: {remark.sentence(Language.EN)} {remark.sentence(Language.ZH_CN)}"
            for remark in remarks
        ),
        f"{sentence(key, Language.EN)} {sentence(key, Language.ZH_CN)}",
    ]


def _volumetric_group(
    finding: Finding, analysis: Analysis, seg: Dataset, uids: ResultUids
) -> "VolumetricROIMeasurementsAndQualitativeEvaluations":
    from highdicom.sr import (
        ReferencedSegment,
        SourceSeriesForSegmentation,
        VolumetricROIMeasurementsAndQualitativeEvaluations,
    )

    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(finding, uids),
        referenced_segment=ReferencedSegment(
            sop_class_uid=seg.SOPClassUID,
            sop_instance_uid=seg.SOPInstanceUID,
            segment_number=finding.id,
            # One item for the series instead of one for each of its slices.
            source_series=SourceSeriesForSegmentation(analysis.instances[0].series_uid),
        ),
        finding_category=codes.MORPHOLOGICALLY_ABNORMAL,
        finding_type=codes.NODULE,
        algorithm_id=_algorithm(analysis),
        finding_sites=[_site(finding)],
        measurements=[
            _number(codes.VOLUME, finding.volume_mm3, codes.CUBIC_MILLIMETRE),
            _number(codes.ATTENUATION, finding.mean_hu, codes.HOUNSFIELD_UNIT, codes.MEAN),
            _number(codes.CERTAINTY, round(100 * finding.score, 1), codes.PERCENT),
        ],
    )


def _planar_group(
    finding: Finding, analysis: Analysis, uids: ResultUids
) -> "PlanarROIMeasurementsAndQualitativeEvaluations":
    from highdicom.sr import (
        GraphicTypeValues,
        ImageRegion,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        SourceImageForRegion,
    )

    instance, frame = analysis.slices[finding.key_slice]
    outline = np.array([*finding.outline_xy, finding.outline_xy[0]])
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(finding, uids),
        referenced_region=ImageRegion(
            graphic_type=GraphicTypeValues.POLYLINE,
            graphic_data=outline,
            source_image=SourceImageForRegion(
                referenced_sop_class_uid=instance.sop_class_uid,
                referenced_sop_instance_uid=instance.sop_instance_uid,
                referenced_frame_numbers=[frame.number] if len(instance.frames) > 1 else None,
            ),
        ),
        finding_category=codes.MORPHOLOGICALLY_ABNORMAL,
        finding_type=codes.NODULE,
        algorithm_id=_algorithm(analysis),
        finding_sites=[_site(finding)],
        measurements=[
            _number(codes.LONG_AXIS, finding.long_axis_mm, codes.MILLIMETRE),
            _number(codes.SHORT_AXIS, finding.short_axis_mm, codes.MILLIMETRE),
            _number(codes.DIAMETER, finding.mean_diameter_mm, codes.MILLIMETRE, codes.MEAN),
        ],
    )


def _tracking(finding: Finding, uids: ResultUids) -> "TrackingIdentifier":
    from highdicom.sr import TrackingIdentifier

    # Always with uid: highdicom makes a random one otherwise.
    return TrackingIdentifier(
        uid=uids.finding_tracking[finding.id - 1], identifier=tracking_id(finding.id)
    )


def _algorithm(analysis: Analysis) -> "AlgorithmIdentification":
    from highdicom.sr import AlgorithmIdentification

    return AlgorithmIdentification(
        name=analysis.package.name,
        version=analysis.package.version,
        parameters=[f"package_sha256={analysis.package.sha256}"],
        family=codes.ARTIFICIAL_INTELLIGENCE,
        manufacturer=MANUFACTURER,
    )


def _site(finding: Finding) -> "FindingSite":
    from highdicom.sr import FindingSite

    if finding.lobe:
        return FindingSite(anatomic_location=codes.LOBES[finding.lobe])
    return FindingSite(anatomic_location=codes.LUNG, laterality=codes.SIDES.get(finding.laterality))


def _number(
    name: "Code", value: float, unit: "Code", derivation: "Code | None" = None
) -> "Measurement":
    from highdicom.sr import Measurement

    return Measurement(name=name, value=value, unit=unit, derivation=derivation)


def _library_slices(analysis: Analysis) -> list[Slice]:
    """Return first, key and last slice of each finding; one from the middle where there is none.

    Each costs 17 content items and about 0.07 s: a whole series would cost 20 s, and no reader
    asks.
    """
    indices = sorted(
        {z for one in analysis.findings for z in (one.slices[0], one.key_slice, one.slices[1])}
    )
    if analysis.slices:
        return [analysis.slices[z] for z in indices or [len(analysis.slices) // 2]]
    middle = analysis.instances[len(analysis.instances) // 2]
    return [(middle, middle.frames[len(middle.frames) // 2])]


def _library_header(instance: Instance, frame: Frame, analysis: Analysis) -> Dataset:
    assert analysis.study is not None
    header = headers.plane_header(instance, frame, analysis.study.codecs)
    wanted = ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness")
    if not all(keyword in header for keyword in wanted):
        # highdicom describes the plane of whatever calls itself CT, and stops where a part is
        # absent.
        header.Modality = "OT"
    return header


def _name_library_frames(report: Dataset, library: Sequence[Slice]) -> None:
    """Say which frame of a multi-frame instance a library entry means."""
    entries = (
        entry
        for item in report.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == "111028"
        for group in item.ContentSequence
        for entry in group.ContentSequence
        if entry.ValueType == "IMAGE"
    )
    for entry, (instance, frame) in zip(entries, library, strict=True):
        if len(instance.frames) > 1:
            entry.ReferencedSOPSequence[0].ReferencedFrameNumber = frame.number
