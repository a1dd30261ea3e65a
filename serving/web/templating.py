"""The environment of the pages' templates: everything is escaped, nothing may be undefined."""

from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment() -> Environment:
    """Return the environment that ``create_app`` hands to every page."""
    made = Environment(
        loader=PackageLoader("serving.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"iso": iso, "utc": utc}
    return made


def iso(seconds: float) -> str:
    """Return a moment as ``<time datetime>`` has it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc(seconds: float) -> str:
    """Return a moment for a page whose script does not run, or did not yet."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
