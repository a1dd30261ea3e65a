"""What headers alone say: no HU, no UIDs, two patients, a child, lossy or 8 bit pixels."""

from collections.abc import Iterator, Sequence

from inference.dicom.instance import Frame, Instance
from inference.gate.reasons import Code, Number, Reason, Status
from models.package import InputContract

# Keyword -> attribute of Instance, of the UIDs that results must name (PS3.3 C.12.1, C.7.4.1).
NEEDED_UIDS = {
    "SOPClassUID": "sop_class_uid",
    "SOPInstanceUID": "sop_instance_uid",
    "StudyInstanceUID": "study_uid",
    "SeriesInstanceUID": "series_uid",
    "FrameOfReferenceUID": "frame_of_reference_uid",
}


def judge_headers(instances: Sequence[Instance], contract: InputContract) -> tuple[Reason, ...]:
    """Judge what can be known before any geometry and any pixel.

    Parameters
    ----------
    instances
        Of the stack, or of the series where no stack could be made; at least one.
    """
    return (
        *_uids(instances),
        *_modality(instances, contract),
        *_compression(instances),
        *_depth(instances, contract),
        *_rescale(instances),
    )


def judge_patient(instances: Sequence[Instance], contract: InputContract) -> Iterator[Reason]:
    """Judge whom a series shows.

    Parameters
    ----------
    instances
        All CT images of the series: another patient in a part that is split off counts too.
    """
    # An empty Patient ID beside a filled one may be anybody's.
    patients = {instance.patient_id for instance in instances}
    if len(patients) > 1:
        yield Reason(Code.PATIENT_MIXED, Status.REFUSE, {"patients": len(patients)})
    ages = [i.patient_age_years for i in instances if i.patient_age_years is not None]
    if ages and min(ages) < contract.min_age_years:
        numbers = {"age_years": round(min(ages), 1), "min_age_years": contract.min_age_years}
        yield Reason(Code.PATIENT_TOO_YOUNG, Status.REFUSE, numbers)


def _uids(instances: Sequence[Instance]) -> Iterator[Reason]:
    lacking = {
        keyword: sum(not getattr(instance, name) for instance in instances)
        for keyword, name in NEEDED_UIDS.items()
    }
    absent = [keyword for keyword, count in lacking.items() if count]
    if absent:
        numbers: dict[str, Number] = {
            "attributes": ", ".join(absent),
            "count": max(lacking.values()),
        }
        yield Reason(Code.UIDS_MISSING, Status.REFUSE, numbers)


def _modality(instances: Sequence[Instance], contract: InputContract) -> Iterator[Reason]:
    other = sorted({instance.modality for instance in instances} - set(contract.modalities))
    if other:
        yield Reason(Code.NOT_CT, Status.REFUSE, {"modality": ", ".join(other) or "-"})


def _compression(instances: Sequence[Instance]) -> Iterator[Reason]:
    lossy = sum(instance.is_lossy for instance in instances)
    if lossy:
        yield Reason(Code.LOSSY_COMPRESSED, Status.LIMITS, {"count": lossy})


def _depth(instances: Sequence[Instance], contract: InputContract) -> Iterator[Reason]:
    bits = min(instance.bits_stored for instance in instances)
    slopes = [
        abs(f.rescale_slope) for i in instances for f in i.frames if f.rescale_slope is not None
    ]
    step_hu = max(slopes, default=0.0)
    if bits < contract.min_bits_stored or step_hu > contract.max_hu_per_step:
        numbers = {
            "bits_stored": bits,
            "min_bits_stored": contract.min_bits_stored,
            "hu_per_step": round(step_hu, 2),
            "max_hu_per_step": contract.max_hu_per_step,
        }
        yield Reason(Code.BIT_DEPTH_TOO_LOW, Status.REFUSE, numbers)


def _rescale(instances: Sequence[Instance]) -> Iterator[Reason]:
    if any(instance.samples_per_pixel != 1 for instance in instances):
        yield Reason(Code.HU_IMPLAUSIBLE, Status.REFUSE, {"problem": "colour"})
    # No Rescale Slope or Intercept: HU unknown, so refuse (docs/gate.md).
    unknown = sum(not all(map(has_rescale, instance.frames)) for instance in instances)
    if unknown:
        yield Reason(
            Code.HU_IMPLAUSIBLE, Status.REFUSE, {"problem": "no-rescale", "count": unknown}
        )


def has_rescale(frame: Frame) -> bool:
    """Whether a plane says how stored values become HU; a slope of zero or below says nothing."""
    return (
        frame.rescale_intercept is not None
        and frame.rescale_slope is not None
        and frame.rescale_slope > 0
    )
