"""DICOM Segmentation: one BINARY segment a finding, on exactly the source's slices and matrix.

Each choice, with what was measured, stands in docs/results.md, "SEG". What highdicom leaves to the
clock or to chance is set here, so that the same analysis gives the same bytes.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from firstread.uids import uid_from
from inference.dicom.instance import Frame, Instance
from inference.findings import Finding
from inference.results import codes, headers
from inference.results.analysis import Analysis, PackageUsed
from inference.results.document import tracking_id
from inference.results.equipment import MANUFACTURER, common_arguments, finish
from inference.results.identity import ResultUids

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

# After the acquired series, so that lists sorted by number show the scan first.
SERIES_NUMBER = 9001
# CIELab of the amber that the key images draw outlines with; without one each viewer invents a
# colour.
OUTLINE_CIELAB = (78.0, 18.0, 80.0)

Slice = tuple[Instance, Frame]


def build_seg(analysis: Analysis, sources: Sequence[Dataset], uids: ResultUids) -> "Segmentation":
    """Return the segmentation of an analysis that has findings.

    Parameters
    ----------
    sources
        Cleaned headers of the stack's instances; the first names the patient and the study.
    """
    from highdicom.seg import Segmentation

    assert analysis.volume is not None
    grid = analysis.volume.grid
    slices, labels = label_map(analysis.findings, grid.shape_yx)
    planes = [analysis.slices[z] for z in slices]
    arguments = common_arguments(analysis, sources)
    with headers.quiet_about_the_source():
        seg = Segmentation(
            source_images=_source_planes(analysis, planes, sources[0]),
            pixel_array=labels,
            segmentation_type="BINARY",
            segment_descriptions=[
                _describe(finding, uids.finding_tracking[finding.id - 1], analysis.package)
                for finding in analysis.findings
            ],
            series_instance_uid=uids.seg_series,
            series_number=SERIES_NUMBER,
            sop_instance_uid=uids.seg_instance,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            content_label="NODULES",
            content_description="Lung nodule candidates, AI, not a diagnosis",
            content_creator_name=f"{MANUFACTURER}^AI",
            series_description="AI lung nodules (SEG)",
            **arguments,
        )
    finish(seg, uids, sources)
    # image.py makes a random one.
    seg.DimensionOrganizationSequence[0].DimensionOrganizationUID = uids.dimension_organization
    for index in seg.DimensionIndexSequence:
        index.DimensionOrganizationUID = uids.dimension_organization
    if not grid.is_regular:
        _forget_spacing(seg)
    _name_frames(seg, planes)
    return seg


def label_map(
    findings: Sequence[Finding], shape_yx: tuple[int, int]
) -> tuple[list[int], NDArray[np.uint16]]:
    """Return the slices that hold mask, ascending, and their labels.

    Returns
    -------
    slices
        k source slice indices.
    labels
        uint16 (k, rows, columns): the finding's number, 0 elsewhere.
    """
    slices = sorted({z for one in findings for z in range(one.slices[0], one.slices[1] + 1)})
    plane_of = {z: k for k, z in enumerate(slices)}
    labels = np.zeros((len(slices), *shape_yx), np.uint16)
    for finding in findings:
        voxels = finding.mask.voxels
        z0, y0, x0 = finding.mask.start_zyx
        for dz, mask in enumerate(voxels):
            box = labels[plane_of[z0 + dz], y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
            assert not np.any(box[mask]), "findings share a voxel"
            box[mask] = finding.id
    return slices, labels


def _describe(finding: Finding, tracking_uid: str, package: PackageUsed) -> "SegmentDescription":
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
    from highdicom.sr import CodedConcept

    site = codes.LOBES[finding.lobe] if finding.lobe else codes.LUNG
    description = SegmentDescription(
        segment_number=finding.id,
        segment_label=f"Nodule {finding.id}",
        segmented_property_category=codes.MORPHOLOGICALLY_ABNORMAL,
        segmented_property_type=codes.NODULE,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=package.name,
            version=package.version,
            family=codes.ARTIFICIAL_INTELLIGENCE,
            source=MANUFACTURER,
            parameters={"package_sha256": package.sha256},
        ),
        tracking_uid=tracking_uid,
        tracking_id=tracking_id(finding.id),
        anatomic_regions=[site],
        display_color=CIELabColor(*OUTLINE_CIELAB),
    )
    side = codes.SIDES.get(finding.laterality)
    if side and not finding.lobe:
        # highdicom has no argument for the modifier; a lobe's own code carries its side.
        region = description.AnatomicRegionSequence[0]
        region.AnatomicRegionModifierSequence = [CodedConcept.from_code(side)]
    return description


def _source_planes(analysis: Analysis, planes: Sequence[Slice], patient: Dataset) -> list[Dataset]:
    """Return the headers of the nodule slices as highdicom wants them: single-frame, one patient.

    highdicom copies patient and study from the first plane, and refuses planes whose orientations
    differ in the last digit, which the gate has found to be one orientation.
    """
    assert analysis.study is not None
    assert analysis.volume is not None
    grid = analysis.volume.grid
    found = [headers.plane_header(*plane, analysis.study.codecs) for plane in planes]
    for plane, header in zip(planes, found, strict=True):
        header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, _plane_uid(plane)
        header.ImageOrientationPatient = found[0].ImageOrientationPatient
        for keyword in (*headers.OBLIGATORY, *headers.OPTIONAL):
            if keyword in patient:
                header[keyword] = patient[keyword]
            elif keyword in header:
                del header[keyword]
        # What a slice stands for: Slice Thickness may be absent, and Spacing Between Slices untrue.
        if "SliceThickness" not in header:
            header.SliceThickness = round(grid.step_mm, 4)
        header.SpacingBetweenSlices = round(grid.step_mm, 4)
    return found


def _forget_spacing(seg: Dataset) -> None:
    """Remove what says that the frames are equally spaced; each frame carries its own position."""
    for measures in seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence:
        if "SpacingBetweenSlices" in measures:
            del measures.SpacingBetweenSlices
    if "DimensionOrganizationType" in seg:
        del seg.DimensionOrganizationType


def _plane_uid(plane: Slice) -> str:
    """Return a name for one plane: its instance's UID, or a stand-in for a frame of several."""
    instance, frame = plane
    if len(instance.frames) == 1:
        return instance.sop_instance_uid
    return uid_from("frame of", instance.sop_instance_uid, str(frame.number))


def _name_frames(seg: Dataset, planes: Sequence[Slice]) -> None:
    """Give the references to multi-frame sources their UIDs, SOP classes and frame numbers.

    highdicom takes one multi-frame source with all of its frames; here a stack may lie in several,
    so the frames were handed over as single images (:func:`_source_planes`) and are named now.
    """
    by_uid = {_plane_uid(plane): plane for plane in planes}
    for groups in seg.PerFrameFunctionalGroupsSequence:
        for reference in groups.DerivationImageSequence[0].SourceImageSequence:
            instance, frame = by_uid[reference.ReferencedSOPInstanceUID]
            reference.ReferencedSOPClassUID = instance.sop_class_uid
            reference.ReferencedSOPInstanceUID = instance.sop_instance_uid
            if len(instance.frames) > 1:
                reference.ReferencedFrameNumber = frame.number
    classes = {instance.sop_instance_uid: instance.sop_class_uid for instance, _ in planes}
    seg.SourceImageSequence = list(_instance_references(classes))
    seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence = list(_instance_references(classes))


def _instance_references(classes: dict[str, str]) -> Iterator[Dataset]:
    for uid, sop_class in classes.items():
        reference = Dataset()
        reference.ReferencedSOPClassUID = sop_class
        reference.ReferencedSOPInstanceUID = uid
        yield reference
