"""What SEG and SR say of who made them and when: Firstread and its package, never the clock."""

from collections.abc import Sequence
from typing import Any

from pydicom import Dataset

from inference.results import headers
from inference.results.analysis import Analysis
from inference.results.identity import ResultUids

MANUFACTURER = "Firstread"


def model_name(analysis: Analysis) -> str:
    """Return the package as Manufacturer's Model Name and Device Observer Model Name have it."""
    return f"{analysis.package.name} {analysis.package.version}"


def serial_number(analysis: Analysis) -> str:
    """Return the first 16 digits of the package hash: which weights these were."""
    return analysis.package.sha256[:16]


def common_arguments(analysis: Analysis, sources: Sequence[Dataset]) -> dict[str, Any]:
    """Return the arguments that highdicom's SEG and SR share."""
    date, time = headers.content_moment(sources)
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": model_name(analysis),
        # A list: of a tuple pydicom 3 warns.
        "software_versions": [
            analysis.software_version,
            f"{analysis.package.name} {analysis.package.version}",
        ],
        "device_serial_number": serial_number(analysis),
        "instance_number": 1,
        "content_date": date,
        "content_time": time,
        "series_date": date,
        "series_time": time,
        "specific_character_set": "ISO_IR 192",
    }


def finish(result: Dataset, uids: ResultUids, sources: Sequence[Dataset]) -> None:
    """Take the clock out of a result that highdicom made, and add what it has no argument for."""
    # Both are optional, and highdicom 0.28 sets them to now (base.py).
    del result.InstanceCreationDate
    del result.InstanceCreationTime
    moment = "".join(headers.content_moment(sources))
    for item in result.ContributingEquipmentSequence:
        # base_content.py, for_highdicom: now.
        if "ContributionDateTime" in item:
            item.ContributionDateTime = moment
    result.DeviceUID = uids.device
    if "TimezoneOffsetFromUTC" in sources[0]:
        # Content date and time are the source's, so its time zone goes with them.
        result.TimezoneOffsetFromUTC = sources[0].TimezoneOffsetFromUTC
