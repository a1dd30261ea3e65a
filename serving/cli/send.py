"""``firstread send``: studies of a folder to a DICOMweb server."""

import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from firstread.errors import FirstreadError, UsageError
from serving.cli.output import progress_bar, say, tell, tell_json

if TYPE_CHECKING:
    from serving.sending.deliver import Delivered

# Something of it was refused: exit code of a command that otherwise went well.
EXIT_REFUSED = 10
MOST_REASONS = 5
# Which part of the request: it says nothing to who sent a folder.
_PART = re.compile(r"^part \d+: ")


def send(
    inputs: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders, zips or files.")],
    to: Annotated[str, typer.Option(metavar="URL", help="Of the service, or a DICOMweb root.")],
    token: Annotated[
        str,
        typer.Option(
            envvar="FIRSTREAD_TOKEN",
            help="Of your site. Better in FIRSTREAD_TOKEN: a command line can be read by others.",
        ),
    ] = "",
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to try again while nobody answers.")
    ] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Send every DICOM file of DIR by STOW-RS and say what became of each study.

    Files go out unchanged. What the server has already is not stored twice, so a broken
    transmission is simply sent again. Exit code 10: something was refused, or could not be sent.
    The JSON document is printed however it ends: `error` says what broke it off.
    """
    from serving.sending.deliver import Patience, deliver, open_client
    from serving.sending.outgoing import find_outgoing

    document: dict[str, Any] = {"studies": [], "skipped": {}, "not_sent": []}
    try:
        _check(token)
        with (
            open_client(to, token) as client,
            progress_bar() as progress,
            find_outgoing(inputs, progress) as outgoing,
        ):
            document["skipped"] = outgoing.skipped
            for why, count in sorted(outgoing.skipped.items()):
                say(f"skipped: {count} file(s), {why}")
            for lost in outgoing.broken:
                document["not_sent"].append({"file": str(lost.path), "reason": lost.reason})
                say(f"not sent: {lost.path}, {lost.reason}; it may be a slice of a study")
            for one in deliver(client, outgoing.studies, progress, Patience(patience, tell=say)):
                document["studies"].append(asdict(one))
                for gone in one.not_sent:
                    say(f"not sent: {gone.file}, {gone.reason}")
                if not as_json:
                    _tell(one)
    except BaseException as error:
        document["error"] = _failure(error)
        raise
    finally:
        # What was acknowledged is told however it ended.
        if as_json:
            tell_json(document)
    is_whole = all(one["stored"] == one["files"] for one in document["studies"])
    return 0 if is_whole and not document["not_sent"] else EXIT_REFUSED


def _check(token: str) -> None:
    if any(character in token for character in "\r\n"):
        raise UsageError("the token has a line break in it", advice="copy it again, in one line")


def _failure(error: BaseException) -> dict[str, str]:
    if isinstance(error, FirstreadError):
        return {"code": error.code, "message": error.message, "advice": error.advice}
    if isinstance(error, SystemExit):
        return {"code": "interrupted", "message": "stopped by a signal", "advice": "send again"}
    return {"code": "internal", "message": f"a bug: {type(error).__name__}", "advice": ""}


def _tell(study: "Delivered") -> None:
    name = study.study_uid or "files that do not name their study"
    tell(f"{name}: {study.stored} of {study.files} files are at the server")
    reasons = Counter(
        _PART.sub("", each.comment) or f"failure reason {each.reason:#06x}"
        for each in study.refused
    )
    for reason, count in reasons.most_common(MOST_REASONS):
        tell(f"  refused: {count}, {reason}")
    if others := reasons.total() - sum(count for _, count in reasons.most_common(MOST_REASONS)):
        tell(f"  refused: {others} for other reasons; --json lists them all")
