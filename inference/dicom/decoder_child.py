"""The decoder child: a process that may crash, hang or eat memory, so that ours does not.

It limits itself before it imports a decoder, takes one frame at a time, and ends when its parent
does.
"""

import errno
import os
import resource
import socket
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.dicom.data_set import EXPLICIT_BIG
from inference.dicom.decoders import DecodeRefused, decode_colour, decode_frame
from inference.dicom.encapsulated import FrameTooLong, encapsulated_frame
from inference.dicom.stored import rescale, words_of
from inference.dicom.walked import HeaderRefused, Pixels
from inference.dicom.walker import walk
from inference.dicom.wire import NO_ROOM, Answer, Task, receive_task, send

# GDCM took 545 MB for a mutated JPEG 2000 frame of 3 kB; libraries map some hundred MB.
ADDRESS_SPACE_BYTES = 4 * 1024**3
# A JPEG 2000 frame takes 0.08 s, the worst mutant seen 5.8 s.
FRAME_CPU_S = 20


def serve(connection: socket.socket) -> None:
    """Decode frames until the parent is gone."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    ceiling = (
        ADDRESS_SPACE_BYTES if hard == resource.RLIM_INFINITY else min(hard, ADDRESS_SPACE_BYTES)
    )
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while (task := receive_task(connection)) is not None:
        _allow_cpu_seconds(FRAME_CPU_S)
        pixels: NDArray[np.integer] | None = None
        try:
            pixels, reason = decode_stored(task) if task.stored else decode(task), ""
        except (DecodeRefused, HeaderRefused) as refused:
            reason = refused.reason
        except (MemoryError, FrameTooLong):
            reason = "too-large"
        except OSError as error:
            reason = NO_ROOM if error.errno in (errno.ENOSPC, errno.EDQUOT) else "decoder-failed"
        except BaseException:  # noqa: BLE001  (a process's edge; a Rust panic is no Exception)
            reason = "decoder-failed"
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        send(connection, Answer(pixels is not None, reason, peak_mb))
        if pixels is not None:
            connection.sendall(pixels.data.cast("B"))


def decode(task: Task) -> NDArray[np.int16]:
    """Return (rows, columns) HU of one frame.

    Raises
    ------
    DecodeRefused
        ``pixels-missing``, ``pixels-short``, and what ``decode_frame`` raises.
    HeaderRefused
        The file is not what it was when its header was read.
    """
    form = task.form
    frame = _frame(task)
    is_big = task.transfer_syntax_uid == EXPLICIT_BIG
    words: NDArray[np.integer] = (
        words_of(frame, form, big=True)
        if is_big
        else decode_frame(frame, task.transfer_syntax_uid, form)
    )
    hu = np.empty((form.rows, form.columns), np.int16)
    rescale(words, task.slope, task.intercept, hu)
    return hu


def decode_stored(task: Task) -> NDArray[np.integer]:
    """Return (rows, columns[, samples]) stored values of one frame, little endian.

    Raises
    ------
    DecodeRefused, HeaderRefused
        See :func:`decode`.
    """
    form, frame = task.form, _frame(task)
    width = form.bits_allocated // 8
    if task.transfer_syntax_uid == EXPLICIT_BIG:
        values: NDArray[np.integer] = np.frombuffer(frame, f">u{width}")
    elif task.samples == 1:
        values = decode_frame(frame, task.transfer_syntax_uid, form)
    else:
        values = decode_colour(frame, task.transfer_syntax_uid, form, task.photometric)
    kind = "i" if form.is_signed else "u"
    stored = np.ascontiguousarray(values.astype(f"<{kind}{width}", copy=False))
    if stored.nbytes != form.frame_bytes * task.samples:
        raise DecodeRefused("size-differs")
    return stored


def _frame(task: Task) -> bytes:
    with Path(task.path).open("rb") as stream:
        facts = os.fstat(stream.fileno())
        # A file may be replaced by another of its name while this process lives.
        pixels = _pixels(task.path, facts.st_size, facts.st_mtime_ns)
        if pixels is None:
            raise DecodeRefused("pixels-missing")
        if pixels.length is not None:
            size = task.form.frame_bytes * task.samples
            if (task.index + 1) * size > pixels.length:
                raise DecodeRefused("pixels-short")
            stream.seek(pixels.offset + task.index * size)
            return stream.read(size)
    return encapsulated_frame(Path(task.path), pixels.offset, task.index, task.frames)


@lru_cache(maxsize=1)
def _pixels(path: str, size: int, _mtime_ns: int) -> Pixels | None:
    """Walk again to the pixels; frames of one file come one after the other."""
    with Path(path).open("rb", buffering=0) as stream:
        return walk(stream, size, frozenset()).pixels


def _allow_cpu_seconds(seconds: int) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = used + seconds if hard == resource.RLIM_INFINITY else min(hard, used + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
