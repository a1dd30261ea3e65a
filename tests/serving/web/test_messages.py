"""Every sentence that pages use stands in the catalogues, and none that no page uses."""

import ast
import re
from pathlib import Path

import pytest

from firstread.messages import Language, catalogue
from serving.web import case_words, live, words

WEB = Path(words.__file__).parent
TEMPLATES = sorted((WEB / "templates").glob("*.html"))
# Ours; "log-in.", "account." and "problem." are tested with the accounts.
PREFIX = "page."


def keys_of_templates() -> set[str]:
    """Return the keys in ``t("...")``; one that is put together must be listed by its page."""
    found = set()
    for template in TEMPLATES:
        text = template.read_text("utf-8")
        found |= {key for _, key in re.findall(r"""\bt\((["'])([a-z][a-z0-9.-]*)\1""", text)}
    return {key for key in found if not key.endswith(".")}


def keys_of_modules() -> set[str]:
    found = set()
    for module in WEB.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(re.findall(r"^page\.[a-z][a-z0-9.-]*[a-z0-9]$", node.value))
    return found


def used() -> set[str]:
    listed = (
        words.dynamic_keys()
        | case_words.dynamic_keys()
        | {f"page.script.{name}" for name in live.SCRIPT_WORDS}
    )
    return keys_of_templates() | keys_of_modules() | listed


@pytest.mark.parametrize("language", Language)
def test_no_sentence_that_a_page_uses_is_missing(language: Language) -> None:
    ours = {key for key in used() if key.startswith(PREFIX) or key in keys_of_templates()}
    missing = sorted(ours - set(catalogue(language)))
    assert not missing


def test_no_sentence_of_the_pages_is_unused() -> None:
    ours = {key for key in catalogue(Language.EN) if key.startswith(PREFIX)}
    assert not sorted(ours - used())


def test_keys_that_are_put_together_are_of_listed_families() -> None:
    """A family that a template makes at run time must be one that ``dynamic_keys`` lists."""
    families = set()
    for template in TEMPLATES:
        families |= set(re.findall(r't\("(page\.[a-z.-]+\.)" ~', template.read_text("utf-8")))
    listed = words.dynamic_keys() | case_words.dynamic_keys()
    assert families
    assert all(any(key.startswith(family) for key in listed) for family in families)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_template_holds_script_or_style_or_words_of_its_own(template: Path) -> None:
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", template.read_text("utf-8"), flags=re.S)
    assert not re.search(r"<style|style=|\son[a-z]+=|hx-on|javascript:|\|\s*safe", text)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text))
    # Names of scripts and attributes, which nobody reads.
    hidden = r"<code>.*?</code>|<kbd>.*?</kbd>|<[^>]*>|&[a-z]+;"
    bare = re.sub(hidden, "", re.sub(r"data-[a-z-]+=\S*", "", text), flags=re.S)
    known = {"Firstread", "English", "Esc", "findings", "json", "worklist", "case"}
    assert not set(re.findall(r"[A-Za-z]{3,}", bare)) - known
