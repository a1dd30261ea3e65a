"""The house itself: our packages are ours, heavy libraries stay out, links lead somewhere."""

import importlib
import importlib.metadata
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

import serving

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("name", ["firstread", "models", "inference", "training", "serving"])
def test_our_packages_are_ours(name: str) -> None:
    module = __import__(name)
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(ROOT)


def test_serving_imports_no_heavy_library() -> None:
    code = (
        "import sys, serving.cli.commands, inference.pipeline\n"
        "heavy = {'torch', 'monai', 'mlflow', 'ray', 'training', 'matplotlib'}\n"
        "heavy &= set(sys.modules)\n"
        "raise SystemExit(', '.join(sorted(heavy)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_version_command_imports_no_dicom_and_no_arrays() -> None:
    code = (
        "import sys, serving.cli.commands\n"
        "heavy = {'numpy', 'pydicom', 'highdicom', 'openvino', 'onnxruntime'} & set(sys.modules)\n"
        "raise SystemExit(', '.join(sorted(heavy)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_the_readme_leads_to_every_page() -> None:
    links = set(re.findall(r"\]\((docs/[^)#]+)\)", (ROOT / "README.md").read_text("utf-8")))
    assert {str(page.relative_to(ROOT)) for page in ROOT.glob("docs/*.md")} <= links


def test_every_error_code_stands_in_the_reference() -> None:
    from firstread import errors

    classes = [
        c
        for c in vars(errors).values()
        if isinstance(c, type) and issubclass(c, errors.FirstreadError)
    ]
    page = (ROOT / "docs/errors.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", page, re.MULTILINE))
    assert {c.code: str(c.exit_code) for c in classes}.items() <= rows.items()


def test_every_code_of_the_service_and_of_its_jobs_stands_in_the_reference() -> None:
    from firstread.errors import FirstreadError
    from serving.jobs.queue import Setback
    from serving.worklist.summary import Failure

    for module in pkgutil.walk_packages(serving.__path__, "serving."):
        # Alembic runs these.
        if not module.name.startswith("serving.database.migrations"):
            importlib.import_module(module.name)
    found, left = set(), [FirstreadError]
    while left:
        left += left.pop().__subclasses__()
        found |= {one for one in left if one.__module__.startswith("serving.")}
    assert len(found) > 15
    page = (ROOT / "docs/errors.md").read_text("utf-8")
    listed = set(re.findall(r"^\| (?:\d+ \| )?`([a-z-]+)` \|", page, re.MULTILINE))
    assert {one.code for one in found} | {*Setback} | {*Failure} <= listed


def test_no_command_stands_twice_on_its_page() -> None:
    page = (ROOT / "docs/cli.md").read_text("utf-8")
    groups = [
        row.split()[0] for row in re.findall(r"^\| `firstread (\w+[^`]*)`", page, re.MULTILINE)
    ]
    assert [name for name in groups if groups.count(name) > 1 and name != "analyse"] == []


@pytest.mark.xdist_group("house")
def test_groups_of_tests_stay_together(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@house")


@pytest.mark.slow
def test_the_wheel_carries_everything_that_runs(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, timeout=120, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "firstread", "models", "inference", "training", "serving", "configs"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert set(tracked) <= inside
    assert not [name for name in inside if name.startswith(("tests/", "docs/"))]


def test_the_constraints_pin_what_is_installed() -> None:
    text = (ROOT / "constraints.txt").read_text("utf-8")
    pinned = {
        name.lower().replace("_", "-"): version
        for name, version in re.findall(r"^([\w.-]+)==([\w.]+)$", text, re.MULTILINE)
    }
    requirements = importlib.metadata.requires("firstread") or []
    names = {
        re.split(r"[\s\[<>=!;~]", requirement)[0].lower().replace("_", "-")
        for requirement in requirements
        if not re.search(r"extra == .gpu.", requirement)
    } - {"firstread"}
    assert names <= set(pinned)
    installed = {name: importlib.metadata.version(name) for name in names}
    assert {name: v.split("+")[0] for name, v in installed.items()} == {n: pinned[n] for n in names}
