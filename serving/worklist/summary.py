"""What a row of the worklist shows of a case's analysis: a small value stored with the case.

Made once, when an analysis ends, so that a list of a hundred rows reads no result file. Sentences
of the verdict travel in both languages, because ``findings.json`` is where they were made; our own
codes (``Failure``) become sentences when they are shown.

======================= ===========================================================================
``status``              accept, limits, resend, refuse: the verdict; ``failed``: no verdict
``findings``            how many findings; None where nothing was scored
``largest_mm``          mean diameter of the largest finding, or None
``highest_score``       of the highest-scored finding, or None
``outside_intended``    how many findings are of a size that the model was not made for
``reasons``             ``{"code", "zh", "en"}`` of the verdict; ``{"code"}`` of a failure
``notes``               codes of the result's notes
``package``             ``name@version``, or None
======================= ===========================================================================
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

Summary = dict[str, Any]


class Failure(StrEnum):
    """Why an analysis ended without a verdict; a sentence for each: ``page.failure.<code>``."""

    # The job ended its process too often and is kept away from the queue.
    CRASHED = "analysis-crashed"
    # An error of ours or of the engine; its code stands in the job and the log.
    FAILED = "analysis-failed"
    PACKAGE = "package-unusable"


def summarise(document: Mapping[str, Any]) -> Summary:
    """Return what a row shows of a ``findings.json``."""
    scored = bool(document["scored"])
    findings = document["findings"]
    return {
        "status": document["verdict"]["status"],
        "findings": len(findings) if scored else None,
        "largest_mm": max((finding["mean_diameter_mm"] for finding in findings), default=None),
        "highest_score": max((finding["score"] for finding in findings), default=None),
        "outside_intended": sum(finding["intended_size"] != "within" for finding in findings),
        "reasons": [
            {"code": reason["code"], "zh": reason["zh"], "en": reason["en"]}
            for reason in document["verdict"]["reasons"]
        ],
        "notes": [note["code"] for note in document["notes"]],
        "package": f"{document['package']['name']}@{document['package']['version']}",
    }


def summarise_failure(failure: Failure) -> Summary:
    """Return what a row shows of an analysis that ended without a verdict."""
    return {
        "status": "failed",
        "findings": None,
        "largest_mm": None,
        "highest_score": None,
        "outside_intended": 0,
        "reasons": [{"code": failure.value}],
        "notes": [],
        "package": None,
    }
