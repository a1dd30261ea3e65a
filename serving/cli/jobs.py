"""``firstread jobs list|retry``: what waits, runs or was given up; the way back."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from firstread.errors import UsageError
from serving.cli.database import DataOption, iso, opened
from serving.cli.output import say, tell, tell_json

if TYPE_CHECKING:
    from serving.studies.retry import ListedJob

app = typer.Typer(help="Analyses that wait, run, or were given up.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("list")
def list_all(data: DataOption = None, as_json: JsonOption = False) -> None:
    """List the studies that are queued, leased or quarantined, in the order of the queue."""
    from serving.database.engine import reading
    from serving.studies.retry import list_jobs

    with opened(data) as engine, reading(engine) as connection:
        rows = [_row(job) for job in list_jobs(connection, time.time())]
    if as_json:
        tell_json(rows)
        return
    for row in rows:
        at = row["finished_at"] or row["started_at"] or row["queued_at"]
        pause = f"  not before {row['not_before']}" if row["not_before"] else ""
        words = f"{row['state']:<12}{row['case']}  {row['attempts']:>3}  {at}"
        tell(f"{words}  {row['error'] or ''}{pause}".rstrip())
    if not rows:
        say("no study waits, runs or is in quarantine")


@app.command("retry")
def retry(
    case: Annotated[
        str | None, typer.Argument(metavar="CASE", help="As firstread jobs list names it.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every study in quarantine.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put studies in quarantine back into the queue, at their old place."""
    from serving.studies import retry as studies

    if everything == (case is not None):
        raise UsageError("a CASE or --all, one of the two", advice="firstread jobs retry --help")
    with opened(data) as engine:
        back = studies.retry(engine, case, time.time())
    if as_json:
        tell_json(list(back))
        return
    for case_id in back:
        tell(case_id)
    if not back:
        say("no study is in quarantine")


def _row(job: "ListedJob") -> dict[str, Any]:
    return {
        "case": job.case_id,
        "state": job.state.value,
        "attempts": job.attempts,
        "error": job.error,
        "queued_at": iso(job.queued_at),
        "started_at": iso(job.started_at),
        "finished_at": iso(job.finished_at),
        "not_before": iso(job.not_before),
    }
