"""Pictures for the documentation, of the real service: ``python -m tests.serving.web.screenshots``.

Starts ``firstread up --demonstration`` in a folder of its own, waits until its four studies are
analysed, and takes list and case pages in both languages.
"""

import argparse
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.serving.web.browser import launch
from tests.serving.web.running import free_port

ROOT = Path(__file__).resolve().parents[3]
STUDIES = 4
# Phantoms, sending, quiet time and analysis of all, on a machine that does other things, too.
MOST_MS = 400_000
DESK = {"width": 1366, "height": 768}
PHONE = {"width": 390, "height": 844}


def main() -> int:
    """Take the pictures."""
    parser = argparse.ArgumentParser(prog="python -m tests.serving.web.screenshots")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/images")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        a_demonstration(Path(folder)) as (url, name, password),
        sync_playwright() as playwright,
    ):
        browser = launch(playwright)
        for language, locale in (("en", "en-GB"), ("zh", "zh-CN")):
            page = log_in(browser, url, name, password, locale=locale, viewport=DESK)
            take(page, out / f"worklist-{language}.png")
            take_cases(page, url, out, language)
            page.context.close()
        page = log_in(
            browser, url, name, password, locale="zh-CN", viewport=PHONE, color_scheme="dark"
        )
        take(page, out / "worklist-phone-zh.png")
        page.context.close()
        browser.close()
    return 0


def take_cases(page: Page, url: str, out: Path, language: str) -> None:
    """Take the case that stands first, and the one that was not analysed."""
    first = page.locator("tr[data-case] a").first.get_attribute("href")
    refused = page.locator("tr[data-case]:has(.unanalysed) a").first.get_attribute("href")
    for name, address in (("case", first), ("resend", refused)):
        page.goto(f"{url}{address}")
        page.wait_for_function("() => [...document.images].every(i => i.complete)")
        take(page, out / f"{name}-{language}.png", whole=name == "case")


def log_in(browser: Browser, url: str, name: str, password: str, **options: object) -> Page:
    """Return the list in a browser of its own, with all studies analysed."""
    page = browser.new_context(**options).new_page()  # type: ignore[arg-type]
    page.goto(url)
    page.locator("#name").fill(name)
    page.locator("#password").fill(password)
    page.locator("button.strong").click()
    ended = page.locator(".form-findings, .form-nothing, .form-unanalysed")
    expect(ended).to_have_count(STUDIES, timeout=MOST_MS)
    page.wait_for_timeout(3000)
    return page


def take(page: Page, path: Path, *, whole: bool = False) -> None:
    """Take a picture; one without a CT gets by with 256 colours, the repository stays small."""
    taken = page.screenshot(full_page=whole)
    with Image.open(io.BytesIO(taken)) as picture:
        kept = picture.convert("RGB")
        if not whole:
            # This method keeps small coloured areas; the default one made the green dot grey.
            kept = kept.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        kept.save(path, optimize=True)
    sys.stdout.write(f"{path} {path.stat().st_size // 1024} KiB\n")


@contextmanager
def a_demonstration(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Run the service with its demonstration; give address, name and password."""
    command = [
        str(Path(sys.executable).with_name("firstread")), "up", "--demonstration",
        "--port", str(free_port()), "--data", str(folder),
    ]  # fmt: skip
    environment = {**os.environ, "FIRSTREAD_SETTLE_S": "3"}
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
    )
    assert process.stdout is not None
    said = ""
    try:
        while not (known := re.search(r"demonstration log-in.*: (\S+) / (\S+)", said)):
            line = process.stdout.readline()
            assert line, "the service ended"
            said += line
        address = re.search(r"ready: (\S+)", said)
        assert address is not None, said
        yield address[1], known[1], known[2]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        log.close()


if __name__ == "__main__":
    sys.exit(main())
