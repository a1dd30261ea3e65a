"""``firstread ray deploy|status|remove``: the application on an existing Ray cluster."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from firstread.errors import UsageError
from serving.cli.output import say, tell, tell_json

if TYPE_CHECKING:
    from serving.jobs.ray_application import State
    from serving.settings import Settings

app = typer.Typer(
    help="Replicas on an existing Ray cluster (a local Ray needs none of this: docs/ray.md).",
    no_args_is_help=True,
)

# The application is not there, or does not run.
EXIT_NOT_RUNNING = 9

AddressOption = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT|auto", help="Of the head; default: FIRSTREAD_RAY_ADDRESS."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command("deploy")
def deploy(
    address: AddressOption = None,
    replicas: Annotated[
        int | None, typer.Option(min=1, help="Default: FIRSTREAD_WORKERS, or 1.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of each replica; default: FIRSTREAD_THREADS, or 1.")
    ] = None,
    package: Annotated[
        str | None, typer.Option(metavar="NAME[@VERSION]|FOLDER", help="Default: the newest.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Deploy or update the replicas and wait until all of them are warm.

    Studies that run go on: replicas of the older plan finish theirs first.
    """
    from serving.archive.store import Store
    from serving.jobs import ray_application
    from serving.service.ray_plan import plan_of

    settings = _settings(address, workers=replicas, threads=threads, package=package)
    plan = plan_of(settings)
    _connect(settings)
    say(f"deploying {plan.replicas} replica(s) of {plan.threads} thread(s) with {plan.package} ...")
    ray_application.deploy(plan, Store)
    _tell(ray_application.state(), as_json=as_json)


@app.command("status")
def status(address: AddressOption = None, as_json: JsonOption = False) -> int:
    """Show how the replicas are; exit code 9 unless the application runs."""
    from serving.jobs import ray_application

    _connect(_settings(address))
    found = ray_application.state()
    _tell(found, as_json=as_json)
    return 0 if found.status == "RUNNING" else EXIT_NOT_RUNNING


@app.command("remove")
def remove(address: AddressOption = None, as_json: JsonOption = False) -> None:
    """Remove the replicas after what they are at; Ray and other applications stay."""
    from serving.jobs import ray_application

    _connect(_settings(address))
    ray_application.remove()
    _tell(ray_application.state(), as_json=as_json)


def _settings(address: str | None, **changes: object) -> "Settings":
    from serving.settings import read_settings

    settings = read_settings(ray_address=address, **changes)
    if settings.ray_address is None:
        raise UsageError(
            "no Ray cluster is named",
            advice="give --address or FIRSTREAD_RAY_ADDRESS; firstread up --engine ray starts a "
            "Ray of its own",
        )
    return settings


def _connect(settings: "Settings") -> None:
    from serving.jobs.ray_application import connect

    assert settings.ray_address is not None
    connect(settings.ray_address)


def _tell(state: "State", *, as_json: bool) -> None:
    if as_json:
        tell_json(asdict(state))
        return
    counts = ", ".join(f"{count} {name.lower()}" for name, count in sorted(state.replicas.items()))
    tell(f"{state.status.lower()}: replicas {counts or 'none'}")
    if state.message:
        tell(f"  {state.message}")
