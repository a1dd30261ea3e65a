import re
from pathlib import Path

import inference.dicom

ROOM = Path(inference.dicom.__file__).parent
PAGE = ROOM.parents[1] / "docs/dicom.md"


def test_every_reason_word_of_the_room_is_explained_in_its_page() -> None:
    source = "\n".join(path.read_text() for path in sorted(ROOM.glob("*.py")))
    raised = re.findall(r'(?:Refused|Unread)\([^()"]*"([a-z-]+)"\)', source)
    returned = re.findall(r'(?:return|reason =|else) "([a-z]+-[a-z-]+)"', source)
    found = {*raised, *returned} - {"utf-8", "latin-1"}
    assert {"truncated", "decoder-crashed", "zip-encrypted", "pixels-short", "too-large"} <= found
    page = PAGE.read_text()
    assert [word for word in sorted(found) if f"`{word}`" not in page] == []
