import re
from pathlib import Path

from pydicom.datadict import keyword_for_tag

import inference
from inference.dicom import attributes


def test_every_attribute_of_the_header_has_a_reader() -> None:
    files = Path(inference.__file__).parent.rglob("*.py")
    readers = [
        file for file in files if file.name != "attributes.py" and "phantom" not in file.parts
    ]
    words = set(re.findall(r"\w+", "\n".join(file.read_text() for file in readers)))
    idle = [
        keyword_for_tag(tag)
        for tag in sorted(attributes.HEADER)
        if not {keyword_for_tag(tag), f"0x{tag:08X}"} & words
    ]
    assert idle == []
