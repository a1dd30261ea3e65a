"""What Body Part Examined (0018,0015) says of the parts that a model was made for.

The value is a defined term by the standard (PS3.16 annex L: ``CHEST``, ``CHESTABDOMEN``,
``NECKCHEST``) and anything at all in the field: ``CHEST_TO_PELVIS``, ``Thorax 1.0``, Chinese words.
"""

import re
from collections.abc import Sequence

# What stands in front of a part in the terms of several parts.
_IN_FRONT = "(?:HEAD|NECK|ABDOMEN|ABD)*"
_LETTER = "[A-Z]"

# The chest and the lung, but not the spine behind them.
_CHINESE_CHEST = re.compile("胸(?!椎)|肺")
_CHEST_WORDS = frozenset({"CHEST", "THORAX", "LUNG"})


def names_body_part(text: str, body_parts: Sequence[str]) -> bool | None:
    """Say whether a text names one of some body parts, alone or with others.

    Parameters
    ----------
    text
        Body Part Examined, decoded.
    body_parts
        The contract's, in capitals.

    Returns
    -------
    True: it does. False: it names another one. None: it is empty, or in letters that are not read
    here, so it says nothing.
    """
    named = text.upper()
    for part in body_parts:
        if re.search(rf"(?<!{_LETTER}){_IN_FRONT}{re.escape(part.upper())}", named):
            return True
    if _CHEST_WORDS & {part.upper() for part in body_parts} and _CHINESE_CHEST.search(named):
        return True
    return False if named.strip() and named.isascii() else None
