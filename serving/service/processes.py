"""What the service's processes have in common: how they learn their settings, and how they die."""

import ctypes
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from serving.settings import PREFIX, Settings

_PR_SET_PDEATHSIG = 1


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the environment variables that say the same as these settings."""
    said = settings.model_dump(mode="json", exclude_none=True)
    # Children may stand in another folder.
    said |= {name: str(path.absolute()) for name, path in settings if isinstance(path, Path)}
    return {PREFIX + name.upper(): _text(value) for name, value in said.items()}


def child_environment(settings: Settings, given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child: that of the parent, with what its command line changed."""
    others = {name: value for name, value in given.items() if not _is_setting(name)}
    return others | environment_of(settings)


def die_with(parent: int) -> None:
    """Let the kernel end this process when its parent ends, however that happens.

    By SIGKILL: everything of ours survives that, and nothing can hold it up. Only Linux can; on
    other systems an orphan stays until somebody ends it.

    Parameters
    ----------
    parent
        Process id of the parent, who may be gone already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def host_name() -> str:
    """Return this machine's name as a part of a worker's: short, and without a dot."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:24] or "host"


def _is_setting(name: str) -> bool:
    return name.startswith(PREFIX) and name[len(PREFIX) :].lower() in Settings.model_fields


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
