"""``firstread version``: what is installed here, as a support desk would ask."""

import typer

from firstread.version import __version__
from serving.cli.output import tell, tell_json

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "openvino")


def version(
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Print the version of Firstread, of Python and of the installed runtimes."""
    import importlib.metadata
    import platform

    def installed(name: str) -> str | None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    runtimes = {name: found for name in RUNTIMES if (found := installed(name))}
    if as_json:
        tell_json(
            {"firstread": __version__, "python": platform.python_version(), "runtimes": runtimes}
        )
        return
    tell(f"firstread {__version__}, Python {platform.python_version()}")
    tell(
        "runtimes: " + (", ".join(f"{name} {found}" for name, found in runtimes.items()) or "none")
    )
