"""The house itself: our packages are ours, commands start fast, heavy libraries stay out, every link leads somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("name", ["firstread", "models", "inference", "training", "serving"])
def test_our_packages_are_ours(name: str) -> None:
    module = __import__(name)
    assert module.__file__ is not None
    assert Path(module.__file__).is_relative_to(ROOT)


def test_serving_imports_no_heavy_library() -> None:
    code = (
        "import sys, serving.cli, inference.pipeline\n"
        "heavy = {'torch', 'monai', 'mlflow', 'ray', 'training.network', 'matplotlib'} & set(sys.modules)\n"
        "raise SystemExit(', '.join(sorted(heavy)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_version_command_imports_no_dicom_and_no_arrays() -> None:
    code = (
        "import sys, serving.cli\n"
        "heavy = {'numpy', 'pydicom', 'highdicom', 'openvino', 'onnxruntime'} & set(sys.modules)\n"
        "raise SystemExit(', '.join(sorted(heavy)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_every_error_code_stands_in_the_reference() -> None:
    from firstread import errors

    classes = [c for c in vars(errors).values() if isinstance(c, type) and hasattr(c, "exit_code")]
    page = (ROOT / "docs/errors.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", page, re.MULTILINE))
    assert {c.code: str(c.exit_code) for c in classes}.items() <= rows.items()
