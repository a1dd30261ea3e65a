"""Facts of the written SEG, SR and findings.json that a conformance check does not state."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pydicom
import pytest

from inference.findings import Finding
from inference.lungs import Laterality
from inference.results import codes
from inference.results.analysis import Analysis
from inference.results.document import MOST_CANDIDATES, describe, json_schema
from inference.results.seg import label_map
from inference.results.sr import exam_comments
from inference.results.writing import write_results
from tests.conformance import check
from tests.conformance_sr import child, children
from tests.inference.results.a_series import Spec, an_analysis, series_folder, written


def seg_of(analysis: Analysis) -> pydicom.Dataset:
    return pydicom.dcmread(written(analysis) / "seg.dcm")


def sr_of(analysis: Analysis) -> pydicom.Dataset:
    return pydicom.dcmread(written(analysis) / "sr.dcm")


def test_seg_and_sr_name_the_same_device() -> None:
    sr = sr_of(an_analysis())
    assert seg_of(an_analysis()).DeviceUID == sr.DeviceUID == child(sr, "121012").UID


def test_another_package_version_is_the_same_device() -> None:
    newer = replace(an_analysis(), package=replace(an_analysis().package, version="2.0.0"))
    assert describe(newer) != describe(an_analysis())
    from inference.results.identity import device_uid

    assert device_uid("lung_nodule") != device_uid("other_package")


def test_content_date_and_time_are_the_sources() -> None:
    seg = seg_of(an_analysis())
    assert (seg.ContentDate, seg.ContentTime) == ("20260301", "102233.5")
    assert "InstanceCreationDate" not in seg


def test_only_slices_with_mask_have_frames() -> None:
    analysis = an_analysis()
    frames = sum(one.slices[1] - one.slices[0] + 1 for one in analysis.findings)
    assert int(seg_of(analysis).NumberOfFrames) == frames < len(analysis.slices)


@pytest.mark.slow
def test_an_irregular_stack_claims_no_spacing_between_slices() -> None:
    seg = seg_of(an_analysis(Spec(missing_slice=9)))
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert "SpacingBetweenSlices" not in measures
    assert "DimensionOrganizationType" not in seg


def test_frames_of_a_multi_frame_source_are_named_one_by_one() -> None:
    analysis = an_analysis(Spec(is_multi_frame=True))
    seg = seg_of(analysis)
    (instance,) = analysis.instances
    references = [
        own.DerivationImageSequence[0].SourceImageSequence[0]
        for own in seg.PerFrameFunctionalGroupsSequence
    ]
    assert {one.ReferencedSOPInstanceUID for one in references} == {instance.sop_instance_uid}
    assert len({one.ReferencedFrameNumber for one in references}) > 5
    assert len(seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 1


def with_lobe(finding: Finding) -> Finding:
    return replace(finding, laterality=Laterality.RIGHT, lobe="72481006")


@pytest.mark.slow
@pytest.mark.parametrize("is_known", [True, False])
def test_a_lobe_and_an_unknown_side_are_coded_as_the_contract_says(
    tmp_path: Path, is_known: bool
) -> None:
    findings = tuple(
        with_lobe(one) if is_known else replace(one, laterality=Laterality.UNDETERMINED)
        for one in an_analysis().findings
    )
    write_results(replace(an_analysis(), findings=findings), tmp_path / "out")
    assert check(series_folder(Spec()), tmp_path / "out") == []


def test_the_lobes_are_the_five_and_no_lookalike() -> None:
    assert set(codes.LOBES) == {"42400003", "72481006", "266005", "44714003", "41224006"}


def test_a_shared_voxel_between_findings_is_a_bug_not_a_segment() -> None:
    one = an_analysis().findings[0]
    with pytest.raises(AssertionError, match="share a voxel"):
        label_map([one, replace(one, id=2)], (64, 60))


def test_the_exam_says_in_both_languages_that_it_is_no_diagnosis() -> None:
    (comment,) = exam_comments(())
    assert "not a diagnosis" in comment
    assert "并非诊断" in comment


def test_the_score_is_a_certainty_in_percent_and_no_probability_of_cancer() -> None:
    sr = sr_of(an_analysis())
    groups = children(child(sr, "126010"), "125007")
    numbers = [child(group, "111012") for group in groups if children(group, "111012")]
    values = [float(one.MeasuredValueSequence[0].NumericValue) for one in numbers]
    assert values == [94.2, 71.3]
    assert not any(children(group, "111047") for group in groups)


def test_the_schema_is_a_valid_schema_and_our_documents_keep_it() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    document = json.loads((written(an_analysis()) / "findings.json").read_bytes())
    jsonschema.Draft202012Validator(json_schema()).validate(document)


def test_the_document_has_sorted_keys_and_chinese_as_it_is() -> None:
    text = (written(an_analysis()) / "findings.json").read_text("utf-8")
    assert text == json.dumps(json.loads(text), ensure_ascii=False, sort_keys=True, indent=2) + "\n"


def test_the_strongest_candidates_are_kept_in_falling_order() -> None:
    (weak,) = an_analysis().candidates
    many = tuple(replace(weak, score=0.05 + number / 100) for number in range(40))
    kept = [one["score"] for one in describe(replace(an_analysis(), candidates=many))["candidates"]]
    assert len(kept) == MOST_CANDIDATES
    assert kept == sorted(kept, reverse=True)
    assert kept[0] == 0.44


def test_index_and_place_of_a_candidate_are_the_same_point() -> None:
    analysis = an_analysis()
    assert analysis.volume is not None
    (candidate,) = describe(analysis)["candidates"]
    place = analysis.volume.grid.to_lps(candidate["centre_index"]).tolist()
    assert place == pytest.approx(candidate["centre_lps_mm"], abs=0.02)
