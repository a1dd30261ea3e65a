"""Did everything arrive? What the files themselves cannot say: unreadable ones, and a manifest.

A manifest is the sender's list of what was sent: one SOP Instance UID on each line, blank lines and
lines that begin with ``#`` aside. It is the one witness that also sees slices that were taken out
and renumbered before sending.
"""

import re
from collections.abc import Sequence, Set
from dataclasses import replace
from pathlib import Path

from firstread.errors import UsageError
from inference.dicom.body_parts import names_body_part
from inference.dicom.instance import Upload, unread_counts
from inference.gate.reasons import Code, Number, Reason, Status

_UID = re.compile(r"[0-9.]{1,64}")


def judge_arrival(upload: Upload, manifest: Set[str] | None = None) -> tuple[Reason, ...]:
    """Return what is known to be lost of an upload.

    Parameters
    ----------
    manifest
        SOP Instance UIDs that were sent; None where the sender gave no list.
    """
    reasons = []
    unread = sum(unread_counts(upload).values())
    if unread:
        # Each may be a slice of the series, and nobody can know which.
        reasons.append(Reason(Code.FILES_UNREAD, Status.LIMITS, {"files": unread}))
    if manifest is not None:
        absent = manifest - _arrived(upload)
        if absent:
            numbers: dict[str, Number] = {
                "witness": "manifest",
                "expected": len(manifest),
                "received": len(manifest) - len(absent),
                "missing": len(absent),
            }
            reasons.append(Reason(Code.INSTANCES_MISSING, Status.RESEND, numbers))
    return tuple(reasons)


def await_the_rest(reasons: Sequence[Reason], body_parts: Sequence[str]) -> tuple[Reason, ...]:
    """Ask for images that did not arrive before a study is refused for what it does not show.

    Lungs that are cut off, or too small, may lie in just those images: half a study is a study to
    be sent again, not one that cannot be analysed.

    Parameters
    ----------
    body_parts
        The contract's: where the header names another one, the rest would bring no chest either.
    """
    if not any(_tells_of_absent(reason) for reason in reasons):
        return tuple(reasons)
    awaited = [_may_be_mended(reason, body_parts) for reason in reasons]
    if not any(awaited):
        return tuple(reasons)
    return tuple(
        replace(reason, status=Status.RESEND) if may or _tells_of_absent(reason) else reason
        for reason, may in zip(reasons, awaited, strict=True)
    )


def _tells_of_absent(reason: Reason) -> bool:
    """Whether it is known, or told by the numbers at a cut end, that images are absent."""
    return reason.code is Code.INSTANCES_MISSING and (
        reason.status is Status.RESEND or reason.numbers["witness"] == "instance-numbers"
    )


def _may_be_mended(reason: Reason, body_parts: Sequence[str]) -> bool:
    if reason.status is not Status.REFUSE:
        return False
    if reason.code is Code.NOT_CHEST:
        # A dash stands for a header that says nothing.
        named = str(reason.numbers["body_part"]).strip("-")
        return names_body_part(named, body_parts) is not False
    return reason.code is Code.LUNGS_TRUNCATED


def read_manifest(path: Path) -> frozenset[str]:
    """Read a sender's manifest.

    Raises
    ------
    UsageError
        ``usage``: it cannot be read, is empty, or a line is no UID.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the manifest {path.name} cannot be read", advice="it is a text file of UIDs"
        ) from error
    uids = set()
    for number, line in enumerate(lines, start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        if not _UID.fullmatch(entry):
            raise UsageError(
                f"the manifest {path.name}, line {number}, is no UID",
                advice="one SOP Instance UID on each line",
            )
        uids.add(entry)
    if not uids:
        raise UsageError(
            f"the manifest {path.name} names no instance", advice="leave out --manifest"
        )
    return frozenset(uids)


def _arrived(upload: Upload) -> set[str]:
    return {
        instance.sop_instance_uid
        for study in upload.studies
        for series in study.series
        for instance in series.instances
    }
