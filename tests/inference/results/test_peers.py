"""Strangers read our objects: the shared checks, the public validators, every kind of source."""

import contextlib
import io
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from inference.results.analysis import Analysis
from tests.conformance import check
from tests.inference.results.a_series import (
    Spec,
    an_analysis,
    not_scored,
    nothing_found,
    series_folder,
    written,
)
from tests.shared import SHARED, needs_shared

CHINESE = {
    "GB18030": Spec(charset=("GB18030",), codec="gb18030"),
    "GBK": Spec(charset=("GBK",), codec="gb18030"),
    "GBK tagged ISO_IR 100": Spec(charset=("ISO_IR 100",), codec="gb18030"),
    "GBK without a tag": Spec(charset=None, codec="gb18030"),
    "ISO 2022 IR 58": Spec(charset=("", "ISO 2022 IR 58"), codec="gb18030"),
    "UTF-8 tagged GB18030": Spec(charset=("GB18030",), codec="utf-8"),
    "pinyin name, GBK description": Spec(charset=None, codec="gb18030", name="Zhang^San"),
}
SOURCES = CHINESE | {
    "UTF-8": Spec(),
    "Latin-1": Spec(
        charset=("ISO_IR 100",), codec="latin-1", name="Müller^Jörg", description="CT Thorax"
    ),
    "oblique, 17 degrees": Spec(orientation=(0.956305, 0.0, -0.292372, 0.0, 1.0, 0.0)),
    "rotated by 180 degrees": Spec(orientation=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0)),
    "doubled position": Spec(doubled_slice=8),
    "localizer": Spec(has_localizer=True),
    "a bridged gap through a nodule": Spec(missing_slice=9),
    "multi-frame": Spec(is_multi_frame=True),
    "no caret in the name": Spec(name="ANON0012"),
    "empty lossy compression": Spec(extra={"LossyImageCompression": ""}),
    "type 2 absent": Spec(extra={"PatientBirthDate": None, "StudyID": None}),
    "no slice thickness": Spec(extra={"SliceThickness": ""}),
    "half an old sequence": Spec(extra={"SpacingBetweenSlices": "", "StudyTime": ""}),
    "time zone": Spec(extra={"TimezoneOffsetFromUTC": "+0800"}),
}
# In the fast suite: one of each kind that went wrong before.
FAST = ("ISO 2022 IR 58", "multi-frame")


def shared_module(name: str) -> ModuleType:
    sys.path.insert(0, str(SHARED / "checks"))
    try:
        return __import__(name)
    finally:
        sys.path.pop(0)


def says_ok(module: ModuleType, *arguments: str) -> str:
    """What the check prints where it fails; "" where it is green."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = module.main(list(arguments))
    return said.getvalue() if code else ""


@pytest.mark.parametrize(
    "kind",
    [pytest.param(one, marks=() if one in FAST else pytest.mark.slow) for one in SOURCES],
)
def test_results_of_every_kind_of_source_conform(kind: str) -> None:
    spec = SOURCES[kind]
    assert check(series_folder(spec), written(an_analysis(spec)), codec=spec.codec) == []


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("kind", SOURCES)
def test_the_shared_check_is_green(kind: str) -> None:
    spec = SOURCES[kind]
    module = shared_module("check_results")
    arguments = ("--series", str(series_folder(spec)), "--out", str(written(an_analysis(spec))))
    assert says_ok(module, *arguments) == ""


OUTCOMES = {"nothing found": nothing_found, "not scored": not_scored}


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("kind", ["GBK tagged ISO_IR 100", "multi-frame"])
def test_the_shared_check_is_green_without_findings(outcome: str, kind: str) -> None:
    spec = SOURCES[kind]
    out = written(OUTCOMES[outcome](spec))
    module = shared_module("check_results")
    assert says_ok(module, "--series", str(series_folder(spec)), "--out", str(out)) == ""


# dcentvfy compares a result with its source: here the source lacks what every instance must have.
FAULTY = "type 2 absent"


def validated(analysis: Analysis, source: Path | None) -> str:
    for tool in ("dciodvfy", "dcentvfy", "dsrdump"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    beside = ("--series", str(source)) if source else ()
    return says_ok(shared_module("iod_check"), str(written(analysis)), *beside)


@needs_shared
@pytest.mark.slow
@pytest.mark.services
@pytest.mark.parametrize("kind", SOURCES)
def test_the_public_validators_are_silent(kind: str) -> None:
    spec = SOURCES[kind]
    source = series_folder(spec) if kind != FAULTY else None
    assert validated(an_analysis(spec), source) == ""


@needs_shared
@pytest.mark.slow
@pytest.mark.services
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_public_validators_are_silent_without_findings(outcome: str) -> None:
    spec = SOURCES["GB18030"]
    assert validated(OUTCOMES[outcome](spec), series_folder(spec)) == ""
