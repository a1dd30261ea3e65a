"""What a reader of a scored result must know besides its numbers.

Codes are kebab-case and never renamed once released; a sentence in each language stands in
``firstread/messages`` under ``note.<code>``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from firstread.messages import Language, sentence
from inference.results.analysis import Analysis


class NoteCode(StrEnum):
    """Every note that there is (docs/results.md)."""

    SEEN_IN_TRAINING = "seen-in-training"
    OUTSIDE_INTENDED_SIZE = "outside-intended-size"


@dataclass(frozen=True, slots=True)
class Note:
    """One note, with the values that its sentence names."""

    code: NoteCode
    values: Mapping[str, str] = field(default_factory=dict)

    def sentence(self, language: Language) -> str:
        """Return the sentence for people."""
        return sentence(f"note.{self.code}", language, **self.values)


def notes(analysis: Analysis) -> tuple[Note, ...]:
    """Return the notes of an analysis; none where nothing was scored."""
    if not analysis.verdict.status.is_scored:
        return ()
    size = analysis.package.intended_size
    outside = [
        str(finding.id)
        for finding in analysis.findings
        if size.place(finding.mean_diameter_mm) != "within"
    ]
    found = []
    if analysis.package.has_seen_series:
        found.append(Note(NoteCode.SEEN_IN_TRAINING))
    if outside:
        values = {
            "findings": ", ".join(outside),
            "least_mm": f"{size.least_mm:g}",
            "most_mm": f"{size.most_mm:g}",
        }
        found.append(Note(NoteCode.OUTSIDE_INTENDED_SIZE, values))
    return tuple(found)
