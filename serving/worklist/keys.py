"""What a reader must be able to read: modality, part of the body, age group, special finding.

A *key* is one combination of the four. A case has one, a reader several; both are small numbers in
the tables, so the next case of a reader is the best of the heads of his keys, whatever else waits.
Every part is from a closed set: what a sender writes makes no key of its own.
"""

from dataclasses import dataclass
from datetime import date

from inference.dicom.body_parts import names_body_part

MODALITIES = ("CT", "MR", "CR", "DX", "MG", "US", "XA", "RF", "NM", "PT")
OTHER = "OT"
# Looked for in this order; a study of chest and abdomen is a chest's.
BODY_PARTS = {
    "chest": ("CHEST", "THORAX", "LUNG"),
    "head": ("HEAD", "BRAIN", "SKULL"),
    "abdomen": ("ABDOMEN", "LIVER", "PELVIS"),
    "spine": ("SPINE", "CSPINE", "TSPINE", "LSPINE"),
}
ANOTHER_PART = "other"
ADULT, CHILD = "adult", "child"
# Children's departments of Chinese hospitals see patients up to their fourteenth birthday.
ADULT_YEARS = 14


@dataclass(frozen=True, slots=True)
class ReadingKey:
    """One combination; ``body_part`` empty: not known; ``special`` empty: no special finding."""

    modality: str
    body_part: str
    age_group: str = ADULT
    special: str = ""


def key_of(modality: str, body_part: str, birth_date: str, study_date: str) -> ReadingKey:
    """Return the key of a study.

    Parameters
    ----------
    modality, body_part
        Modality (0008,0060) and Body Part Examined (0018,0015) of a series of images, as sent.
    birth_date, study_date
        YYYYMMDD; who has no age is read as an adult.
    """
    known = modality.strip().upper()
    return ReadingKey(
        known if known in MODALITIES else OTHER,
        _part(body_part),
        CHILD if _is_child(birth_date, study_date) else ADULT,
    )


def _part(text: str) -> str:
    for part, words in BODY_PARTS.items():
        if names_body_part(text, words):
            return part
    return ANOTHER_PART if text.strip() and text.isascii() else ""


def _is_child(birth_date: str, study_date: str) -> bool:
    try:
        born, made = date.fromisoformat(birth_date), date.fromisoformat(study_date)
    except ValueError:
        return False
    birthday_was = (made.month, made.day) >= (born.month, born.day)
    return 0 <= made.year - born.year - (not birthday_was) < ADULT_YEARS
