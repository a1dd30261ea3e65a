"""Every reason code of the gate, and the verdict that they add up to.

Codes are kebab-case and never renamed once released; a sentence in each language stands in
``firstread/messages`` under ``gate.<code>`` and may name the reason's numbers. Where a status or a
problem needs other words, they stand under ``gate.<code>.<status>`` or ``gate.<code>.<problem>``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from firstread.messages import Language, catalogue, sentence


class Status(StrEnum):
    """What may be done with a series, from best to worst."""

    ACCEPT = "accept"
    LIMITS = "limits"
    RESEND = "resend"
    REFUSE = "refuse"

    @property
    def is_scored(self) -> bool:
        """Whether a series of this status is analysed."""
        return self in (Status.ACCEPT, Status.LIMITS)


# From best to worst; the verdict is the worst of its reasons.
SEVERITY = (Status.ACCEPT, Status.LIMITS, Status.RESEND, Status.REFUSE)


class Code(StrEnum):
    """Why a series is limited, to be sent again, or refused (docs/gate.md)."""

    SLICES_MISSING = "slices-missing"
    SLICES_THINNED = "slices-thinned"
    SLICES_DOUBLED = "slices-doubled"
    INSTANCES_MISSING = "instances-missing"
    SPACING_IRREGULAR = "spacing-irregular"
    GANTRY_TILT = "gantry-tilt"
    SHEARED = "sheared"
    OBLIQUE = "oblique"
    ORIENTATION_MIXED = "orientation-mixed"
    ORIENTATION_UNUSABLE = "orientation-unusable"
    SIZE_MIXED = "size-mixed"
    FRAME_OF_REFERENCE_MIXED = "frame-of-reference-mixed"
    ACQUISITIONS_MIXED = "acquisitions-mixed"
    IMAGES_COMPUTED = "images-computed"
    TOO_FEW_SLICES = "too-few-slices"
    SLICES_TOO_THICK = "slices-too-thick"
    PIXELS_TOO_LARGE = "pixels-too-large"
    NOT_CT = "not-ct"
    NOT_CHEST = "not-chest"
    LUNGS_TRUNCATED = "lungs-truncated"
    HU_IMPLAUSIBLE = "hu-implausible"
    PIXELS_UNDECODABLE = "pixels-undecodable"
    LOSSY_COMPRESSED = "lossy-compressed"
    BIT_DEPTH_TOO_LOW = "bit-depth-too-low"
    PATIENT_MIXED = "patient-mixed"
    PATIENT_TOO_YOUNG = "patient-too-young"
    UIDS_MISSING = "uids-missing"
    UIDS_REPEATED = "uids-repeated"
    FILES_UNREAD = "files-unread"
    LOCALIZER_ONLY = "localizer-only"


Number = int | float | str


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that the gate found, with what it costs and its numbers.

    Attributes
    ----------
    numbers
        Plain JSON values with units in their names (``position_mm``, ``gap_mm``,
        ``share_percent``), already rounded as they shall be shown. A text is a stable word
        (``no-air``); sentences show its translation ``gate.word.<word>`` where there is one, so
        that no English stands in Chinese.
    """

    code: Code
    status: Status
    numbers: Mapping[str, Number] = field(default_factory=dict)

    def sentence(self, language: Language) -> str:
        """Return the sentence for people, numbers filled in."""
        words = catalogue(language)

        def shown(value: Number) -> Number:
            if not isinstance(value, str):
                return value
            # What a sender wrote is shown in letters that every screen and code page has.
            return words.get(f"gate.word.{value}") or value.encode("ascii", "replace").decode()

        variants = (
            f"gate.{self.code}.{self.numbers.get('problem')}",
            f"gate.{self.code}.{self.status}",
        )
        key = next((key for key in variants if key in words), f"gate.{self.code}")
        return sentence(key, language, **{name: shown(v) for name, v in self.numbers.items()})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be done with a series, and every reason, worst first."""

    reasons: tuple[Reason, ...] = ()

    @classmethod
    def of(cls, reasons: Sequence[Reason]) -> "Verdict":
        """Return the verdict of these reasons: worst first, then in the order of :class:`Code`."""
        order = list(Code)
        return cls(
            tuple(
                sorted(
                    reasons,
                    key=lambda reason: (-SEVERITY.index(reason.status), order.index(reason.code)),
                )
            )
        )

    @property
    def status(self) -> Status:
        """The worst status among the reasons; accept where there is none."""
        return max(
            (reason.status for reason in self.reasons), key=SEVERITY.index, default=Status.ACCEPT
        )
