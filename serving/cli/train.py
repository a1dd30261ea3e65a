"""``firstread train``: from a configuration to a package."""

from pathlib import Path
from typing import Annotated

import typer

from firstread.errors import UsageError
from serving.cli.exits import EXIT_INTERRUPTED
from serving.cli.output import progress_bar, say, tell


def train(
    configuration: Annotated[Path, typer.Argument(help="For instance configs/training/x.yaml.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; default var/training/<name>-<version>.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Time budget of the whole run; default: its patches.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    packages: Annotated[
        Path, typer.Option(help="Where the package is written when the run is complete.")
    ] = Path("models/packages"),
) -> int:
    """Train a package; stops at a checkpoint when asked to (Ctrl-C, SIGTERM); see --resume."""
    try:
        from training.configuration import read_configuration
        from training.packaging import make_package
        from training.run import train as run
    except ModuleNotFoundError as error:
        raise UsageError(
            f"training needs {error.name}, which is not installed",
            advice="in the clone: make setup",
        ) from error

    described = read_configuration(configuration).package
    folder = out or Path(f"var/training/{described.name}-{described.version}")
    if not run(configuration, out=folder, minutes=minutes, resume=resume):
        say(f"stopped at a checkpoint in {folder}; go on with --resume --out {folder}")
        return EXIT_INTERRUPTED
    with progress_bar() as progress:
        package = make_package(configuration, run=folder, packages=packages, progress=progress)
    tell(f"{package.reference} in {package.folder}, sha256 {package.sha256}")
    return 0
