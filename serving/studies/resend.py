"""What a sender is asked for, from the reasons of a verdict in ``findings.json``.

The gate names every gap with its place (docs/gate.md). Here the reasons become a list that a person
at the scanner, or a program, can work through: which series, where, how many, and what helps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_RESEND = "resend"


class Cure(StrEnum):
    """What helps.

    What lies in the images is not mended by sending them again: the same bytes are there already,
    and other bytes under the same UIDs are a conflict (docs/studies.md).
    """

    MISSING_IMAGES = "missing-images"
    NEW_SERIES = "new-series"


# Images that are known to be absent stand on the list of a study that was scored, too.
_ABSENT = frozenset({"slices-missing", "instances-missing"})
_CURES = {
    **dict.fromkeys((*_ABSENT, "slices-thinned"), Cure.MISSING_IMAGES),
    **dict.fromkeys(
        (
            "slices-doubled",
            "spacing-irregular",
            "slices-too-thick",
            "acquisitions-mixed",
            "frame-of-reference-mixed",
            "orientation-unusable",
            "uids-repeated",
            "hu-implausible",
        ),
        Cure.NEW_SERIES,
    ),
}
# Of these doubles one image is used, and nothing is asked for.
_HARMLESS = ("slices-doubled", "equal-pixels")


@dataclass(frozen=True, slots=True)
class ResendItem:
    """One thing that is asked for.

    Attributes
    ----------
    code
        Of the gate's reason.
    cure
        Send the missing images into the same study, or make a new series with new UIDs.
    series_uid
        The series that was judged.
    position_mm, from_mm, to_mm
        Heights in the patient (LPS z): the middle of a gap and the slices that are there on both
        sides of it; None: the series as a whole.
    missing
        How many slices; None: not known, or none is: the whole series.
    is_required
        Whether the study could not be scored without; else it was scored, with this limit.
    zh, en
        The gate's sentence.
    """

    code: str
    cure: Cure
    series_uid: str | None
    position_mm: float | None
    from_mm: float | None
    to_mm: float | None
    missing: int | None
    is_required: bool
    zh: str
    en: str


def resend_list(document: Mapping[str, Any]) -> tuple[ResendItem, ...]:
    """Return what to send, from the feet to the head, the whole series last.

    Nothing is asked for where the verdict is ``refuse``: it would not help.

    Parameters
    ----------
    document
        ``findings.json``.
    """
    verdict = document["verdict"]
    is_required = verdict["status"] == _RESEND
    if not (is_required or document["scored"]):
        return ()
    codes = _CURES.keys() if is_required else _ABSENT
    items = [
        _item(reason, document["series_uid"], is_required)
        for reason in verdict["reasons"]
        if reason["code"] in codes
        and (reason["code"], reason["numbers"].get("pixels")) != _HARMLESS
    ]
    return tuple(sorted(items, key=_from_feet_to_head))


def _item(reason: Mapping[str, Any], series_uid: str | None, is_required: bool) -> ResendItem:
    numbers = reason["numbers"]
    position_mm = numbers.get("position_mm")
    return ResendItem(
        code=reason["code"],
        cure=_CURES[reason["code"]],
        series_uid=series_uid,
        position_mm=position_mm,
        from_mm=numbers.get("from_mm", position_mm),
        to_mm=numbers.get("to_mm"),
        missing=_missing(reason["code"], numbers),
        is_required=is_required,
        zh=reason["zh"],
        en=reason["en"],
    )


def _missing(code: str, numbers: Mapping[str, Any]) -> int | None:
    if code in _ABSENT:
        return int(numbers["missing"])
    if code == "slices-thinned" and numbers["announced"] > numbers["received"]:
        return int(numbers["announced"] - numbers["received"])
    return None


def _from_feet_to_head(item: ResendItem) -> tuple[bool, float]:
    return item.position_mm is None, item.position_mm or 0.0
