"""``firstread up``: the service, until it is stopped."""

from pathlib import Path
from typing import Annotated

import typer

from serving.cli.output import tell


def up(
    host: Annotated[str | None, typer.Option(help="Where to listen; default 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Default 8042; 0 takes any free one.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of database and store; default ./var.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="inline or ray.")] = None,
    workers: Annotated[int | None, typer.Option(help="Analyses at the same time.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of each analysis.")] = None,
    package: Annotated[
        str | None, typer.Option(metavar="NAME[@VERSION]|FOLDER", help="Default: the newest.")
    ] = None,
    demonstration: Annotated[
        bool, typer.Option("--demonstration", help="Load four synthetic studies to look at.")
    ] = False,
) -> None:
    """Run the service: receives studies, analyses them, serves worklist and results.

    Every option can be set as FIRSTREAD_<NAME> too, and there are more of those: docs/service.md.
    """
    from serving.service.up import up as run_service
    from serving.settings import read_settings

    settings = read_settings(
        host=host,
        port=port,
        data=data,
        engine=engine,
        workers=workers,
        threads=threads,
        package=package,
        demonstration=demonstration or None,
    )
    run_service(settings, tell)
