"""The commands of ``firstread``: parses, calls, prints. No logic of its own.

Data goes to stdout, talk to stderr. Each command's file imports what is heavy inside the command,
so that ``firstread version`` answers at once.
"""

import traceback
from collections.abc import Callable

import typer

from firstread.errors import FirstreadError
from serving.cli import (
    analyse,
    jobs,
    models,
    phantom,
    ray,
    region,
    send,
    simulate,
    sites,
    tokens,
    train,
    up,
    users,
    version,
)
from serving.cli.output import say_error

# Every complaint of the parser; Typer exports its kinds but not their base.
WrongUsage: type[typer.BadParameter] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="firstread",
    help="Reads chest CT first: findings, DICOM SEG and SR. Decision support, not a diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        version.version(as_json=False)
        raise typer.Exit


@app.callback()
def _options(
    debug: bool = typer.Option(False, "--debug", help="Show a traceback when something fails."),
    is_version_asked: bool = typer.Option(
        False, "--version", is_eager=True, callback=_tell_version, help="As firstread version."
    ),
) -> None:
    """Options of every command; ``--debug`` is read by :func:`run` wherever it stands."""


app.command("analyse")(analyse.analyse)
app.command("phantom")(phantom.phantom)
app.command("send")(send.send)
app.command("region")(region.region)
app.command("simulate")(simulate.simulate)
app.command("train")(train.train)
app.command("up")(up.up)
app.command("version")(version.version)
app.add_typer(jobs.app, name="jobs")
app.add_typer(models.app, name="models")
app.add_typer(ray.app, name="ray")
app.add_typer(sites.app, name="sites")
app.add_typer(tokens.app, name="tokens")
app.add_typer(users.app, name="users")


def run(arguments: list[str], *, was_stopped: Callable[[], bool] = lambda: False) -> int:
    """Run one command line and return its exit code (the table stands in docs/cli.md).

    Parameters
    ----------
    was_stopped
        Whether somebody asked this process to end: what goes wrong afterwards is no error to tell.
    """
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = app(arguments, prog_name="firstread", standalone_mode=False)
    except Exception as error:
        # A library may turn a stop into an error of its own: pydantic does while it builds a model.
        if was_stopped():
            raise
        if debug and not isinstance(error, WrongUsage):
            traceback.print_exc()
        return _say(error, arguments)
    return code if isinstance(code, int) else 0


def _say(error: Exception, arguments: list[str]) -> int:
    """Say what went wrong and return the exit code."""
    if isinstance(error, FirstreadError):
        say_error(error.code, error.message, error.advice)
        return error.exit_code
    if isinstance(error, WrongUsage):
        if complaint := error.format_message():  # empty: no arguments, and the help was printed
            known = {each.name for each in app.registered_commands}
            known |= {each.name for each in app.registered_groups}
            command = [word for word in arguments[:1] if word in known]
            say_error("usage", complaint, " ".join(["firstread", *command, "--help"]))
        return 2
    # The process's edge: a bug becomes one line.
    say_error(
        "internal",
        f"a bug: {type(error).__name__}",
        "run again with --debug and report the traceback (it may name files, no pixels)",
    )
    return 1
