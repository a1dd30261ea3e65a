"""Studies in a list for people who must choose one: nothing in it names a patient."""

import re
from collections.abc import Sequence

from inference.dicom.instance import Instance, Study

# A screen holds these; whoever hands in a whole archive wants another way to find a study.
MOST_LISTED = 20

# Code strings and dates may hold anything: what is none is not repeated on a screen.
_MODALITY = re.compile(r"[A-Z0-9]{2,10}")
_DATE = re.compile(rb"(\d{4})\.?(\d{2})\.?(\d{2})")


def list_studies(studies: Sequence[Study]) -> str:
    """Return one line for each study, the newest first: UID, modalities, instances, date."""
    rows = sorted(((_date(study), study.uid, study) for study in studies), key=lambda row: row[:2])
    rows.reverse()
    lines = [
        f"  {uid}  {_modalities(study)}  {_counted(study)}  {date or 'no date'}"
        for date, uid, study in rows[:MOST_LISTED]
    ]
    if len(rows) > MOST_LISTED:
        lines.append(f"  and {len(rows) - MOST_LISTED} more")
    return "\n".join(lines)


def _instances(study: Study) -> list[Instance]:
    return [instance for series in study.series for instance in series.instances]


def _counted(study: Study) -> str:
    count = len(_instances(study))
    return f"{count} instance" if count == 1 else f"{count} instances"


def _modalities(study: Study) -> str:
    stated = {instance.modality for instance in _instances(study)}
    return ", ".join(sorted(one for one in stated if _MODALITY.fullmatch(one))) or "no modality"


def _date(study: Study) -> str:
    """Return the latest Study Date (0008,0020) as 2026-01-31; empty where there is none."""
    # get_item leaves the element undecoded: the header's texts are still to be decoded by one rule.
    elements = [instance.header.get_item("StudyDate") for instance in _instances(study)]
    raws = {getattr(element, "value", None) for element in elements}
    found = [_DATE.fullmatch(raw.strip(b" \0")) for raw in raws if isinstance(raw, bytes)]
    return max((b"-".join(match.groups()).decode() for match in found if match), default="")
