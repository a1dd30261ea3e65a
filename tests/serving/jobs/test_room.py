"""No room is told from what is a study's own fault."""

import copy
import errno

import pytest

from firstread.errors import OutputError, PackageError
from serving.errors import ObjectDamaged, Unavailable
from serving.jobs.room import NoRoom, lacks_room, needing_room

NONE = [
    *(OSError(number, "") for number in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)),
    MemoryError(),
    OutputError("the temporary folder cannot be written"),
    Unavailable("the store cannot be written"),
]


@pytest.mark.parametrize("error", NONE, ids=repr)
def test_a_machine_without_room_is_recognised_under_what_it_made_fail(error: Exception) -> None:
    assert lacks_room(error)
    wrapped = ObjectDamaged("cannot be read")
    wrapped.__cause__ = error
    assert lacks_room(wrapped)


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, ""), ObjectDamaged("rotten"), PackageError("none"), KeyError()]
)
def test_what_is_wrong_with_a_study_or_a_package_is_no_lack_of_room(error: Exception) -> None:
    assert not lacks_room(error)
    with pytest.raises(type(error)), needing_room():
        raise error


def test_no_room_tells_no_name_of_a_file_and_can_be_sent_to_another_process() -> None:
    with pytest.raises(NoRoom) as told, needing_room():
        raise OSError(errno.ENOSPC, "No space left on device", "/wang-wei.dcm")
    assert told.value.message == "no room for an analysis: No space left on device"
    again = copy.copy(told.value)
    assert (again.code, again.advice) == ("no-room", told.value.advice)
