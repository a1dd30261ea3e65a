"""The environment of the pages' templates: everything is escaped, nothing may be undefined."""

from datetime import UTC, datetime
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def environment() -> Environment:
    """Return the one environment of a process that ``create_app`` hands to every page."""
    made = Environment(
        loader=PackageLoader("serving.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"iso": iso, "utc": utc, "day": day}
    return made


def iso(seconds: float) -> str:
    """Return a moment as ``<time datetime>`` has it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc(seconds: float) -> str:
    """Return a moment for a page whose script does not run, or did not yet."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def day(dicom_date: str) -> str:
    """Return a date (PS3.5 DA) with dashes; one that is none stays as it was sent."""
    if len(dicom_date) == 8 and dicom_date.isdecimal():
        return f"{dicom_date[:4]}-{dicom_date[4:6]}-{dicom_date[6:]}"
    return dicom_date or "–"
