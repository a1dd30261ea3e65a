"""Debian's Chromium, driven; and the judge of accessibility."""

from importlib.resources import files
from pathlib import Path

from playwright.sync_api import Browser, Page, Playwright

CHROMIUM = Path("/usr/bin/chromium")
# WCAG 2.2 AA, and what axe thinks good practice.
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


def launch(playwright: Playwright) -> Browser:
    """Start the browser; root, as in a container, has no sandbox."""
    return playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])


def accessibility_faults(page: Page) -> list[str]:
    """Return axe's violations on a page: rule, and the first element."""
    source = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
    page.evaluate(source)
    found = page.evaluate(
        "tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", list(TAGS)
    )
    return [
        f"{fault['id']}: {fault['nodes'][0]['html'][:200]} {fault['nodes'][0]['failureSummary']}"
        for fault in found["violations"]
    ]
