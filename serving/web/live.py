"""What every page needs to stay fresh: where the stream begins, and the words of the scripts."""

from collections.abc import Mapping
from typing import Any

from firstread.messages import Language, sentence
from serving.http.dependencies import Service

# Key -> the values that the script fills in.
SCRIPT_WORDS: Mapping[str, tuple[str, ...]] = {
    "minutes": ("minutes",),
    "hours": ("hours", "minutes"),
    "days": ("days", "hours"),
    "over": ("span",),
    "left": ("span",),
    "soon": ("name",),
}


def live_values(service: Service, last_event: int, language: Language) -> dict[str, Any]:
    """Return the values of ``live.html``.

    Parameters
    ----------
    last_event
        The newest event that the page knows of.
    """
    return {
        "last_event": last_event,
        "ping_ms": round(1000 * service.hub.ping_every_s),
        "script_words": {
            name: sentence(
                f"page.script.{name}", language, **{value: f"{{{value}}}" for value in values}
            )
            for name, values in SCRIPT_WORDS.items()
        },
    }
