"""What headers alone say: no HU, no UIDs, two patients, a child, pixels computed, lossy, 8 bit."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence

from inference.dicom.headers import decimals
from inference.dicom.instance import Computed, Frame, Instance
from inference.gate.reasons import Code, Number, Reason, Status
from inference.stack import Stack
from inference.volume import Floats
from models.package import InputContract

# Keyword -> attribute of Instance, of the UIDs that results must name (PS3.3 C.12.1, C.7.4.1).
NEEDED_UIDS = {
    "SOPClassUID": "sop_class_uid",
    "SOPInstanceUID": "sop_instance_uid",
    "StudyInstanceUID": "study_uid",
    "SeriesInstanceUID": "series_uid",
    "FrameOfReferenceUID": "frame_of_reference_uid",
}

# Rescale Type (0028,1054), PS3.3 C.11.1.1.2. US is "unspecified": then the voxels must show that
# they are HU, as they must where the attribute is absent.
RESCALE_TYPES = frozenset({"", "HU", "HU_MOD", "US"})

COMPUTED_STATUS = {Computed.PROJECTION: Status.REFUSE, Computed.REFORMAT: Status.LIMITS}


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
        *_computed(instances),
        *_compression(instances),
        *_depth(instances, contract),
        *_rescale(instances),
        *_rescale_type(instances),
    )


def judge_patient(instances: Sequence[Instance], contract: InputContract) -> Iterator[Reason]:
    """Judge whom a series shows.

    Parameters
    ----------
    instances
        All CT images of the series: another patient in a part that is split off counts too.
    """
    # An empty Patient ID beside a filled one may be anybody's. Where all are empty, name and birth
    # date speak, as bytes: whether two spellings are one person is not for the gate to say.
    patients: set[Hashable] = {instance.patient_id for instance in instances}
    if patients == {""}:
        patients = {
            (header_bytes(instance, "PatientName"), header_bytes(instance, "PatientBirthDate"))
            for instance in instances
        }
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


def judge_uids(stack: Stack, heights_mm: Floats) -> Iterator[Reason]:
    """Find one SOP Instance UID on several slices: a result would name the wrong one.

    Frames of one instance share theirs, and at one position the doubles are judged by their pixels.

    Parameters
    ----------
    heights_mm
        (n,) where each slice of the stack lies, for people.
    """
    heights: dict[Instance, float] = {}
    for (instance, _), height_mm in zip(stack.slices, heights_mm, strict=True):
        heights.setdefault(instance, float(height_mm))
    counts = Counter(instance.sop_instance_uid for instance in heights)
    repeated = [i for i in heights if i.sop_instance_uid and counts[i.sop_instance_uid] > 1]
    if repeated:
        places = sorted(heights[instance] for instance in repeated)
        numbers: dict[str, Number] = {
            "count": len(repeated),
            "uids": len({instance.sop_instance_uid for instance in repeated}),
            "position_mm": round(places[0], 2),
            "to_mm": round(places[-1], 2),
        }
        yield Reason(Code.UIDS_REPEATED, Status.RESEND, numbers)


def _computed(instances: Sequence[Instance]) -> Iterator[Reason]:
    """Name what was computed from other slices: a part of a series counts as the whole does."""
    for kind, count in sorted(Counter(i.computed for i in instances if i.computed).items()):
        numbers: dict[str, Number] = {"kind": kind.value, "count": count}
        yield Reason(Code.IMAGES_COMPUTED, COMPUTED_STATUS[kind], numbers)


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


def _rescale_type(instances: Sequence[Instance]) -> Iterator[Reason]:
    """Refuse values that say themselves that they are something else: densities, effective Z."""
    types = [header_bytes(i, "RescaleType").decode("latin-1").upper() for i in instances]
    other = Counter(name for name in types if name not in RESCALE_TYPES)
    if other:
        numbers: dict[str, Number] = {
            "problem": "other-unit",
            "unit": ", ".join(sorted(other)),
            "count": other.total(),
        }
        yield Reason(Code.HU_IMPLAUSIBLE, Status.REFUSE, numbers)


def announced_study_instances(instance: Instance) -> int | None:
    """Return Number of Study Related Instances (0020,1208); None where it is no whole number."""
    numbers = decimals(header_bytes(instance, "NumberOfStudyRelatedInstances"))
    return int(numbers[0]) if numbers and numbers[0].is_integer() else None


def header_bytes(instance: Instance, keyword: str) -> bytes:
    """Return the value of a header as sent, without padding; empty where there is none."""
    value = getattr(instance.header.get_item(keyword), "value", None)
    return value.strip(b"\0 ") if isinstance(value, bytes) else b""


def has_rescale(frame: Frame) -> bool:
    """Whether a plane says how stored values become HU; a slope of zero or below says nothing."""
    return (
        frame.rescale_intercept is not None
        and frame.rescale_slope is not None
        and frame.rescale_slope > 0
    )
