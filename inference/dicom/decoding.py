"""Pixels of many frames to HU, in the order asked for.

Native little endian pixels are plain bytes: reading them runs no decoder that could crash, so they
are read here, straight from their place in the file. Everything else is decoded in child processes
(``decoder_process``), one for each worker, and arrives in the same array: there is one copy of the
volume.
"""

import errno
import itertools
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from firstread.processors import usable_processors
from firstread.progress import Progress, silent
from inference.dicom import decoder_process
from inference.dicom.decoder_process import DecoderProcess
from inference.dicom.instance import Frame, Instance
from inference.dicom.scratch import no_room
from inference.dicom.stored import StoredFormat, rescale, words_of
from inference.dicom.wire import NO_ROOM, Task

STAGE = "pixels"

# 4,096 slices of 512 x 512, or 1,024 of 1,024 x 1,024.
VOLUME_BYTES = 2 * 1024**3
# More workers than this gain nothing against the disk, and each child keeps about 100 MB.
MOST_WORKERS = 4

# Wall time for all frames of a call: about ten times what JPEG 2000, the slowest, takes on a busy
# machine, and never more than somebody waits for.
WALL_S, FRAME_SHARE_S, MOST_WALL_S = 60.0, 1.0, 900.0

Plane = tuple[Instance, Frame]


class PixelsUndecodable(Exception):
    """A frame's pixels cannot be had: the gate's ``pixels-undecodable``.

    Attributes
    ----------
    instance, frame_number
        The first such frame, in the order asked for.
    reason
        A stable word, listed in ``docs/dicom.md``.
    """

    def __init__(self, instance: Instance, frame_number: int, reason: str) -> None:
        super().__init__(reason)
        self.instance = instance
        self.frame_number = frame_number
        self.reason = reason


def read_pixels(
    frames: Sequence[Plane], progress: Progress = silent, *, workers: int | None = None
) -> NDArray[np.int16]:
    """Read frames of one size.

    Parameters
    ----------
    frames
        At least one; all of the same rows and columns. Where slope or intercept is absent the
        stored value stands: the gate refuses such series.
    workers
        Threads, each with a child of its own where one is needed; the result does not depend on it.

    Returns
    -------
    (n, rows, columns) int16: stored value x slope + intercept, rounded and saturated, padding
    untouched; frame k of the result is frame k of the input. The caller's to change.

    Raises
    ------
    PixelsUndecodable
        ``not-monochrome``, ``bits-unsupported``, ``size-missing``, ``too-large``,
        ``pixels-missing``, ``pixels-short``, ``transfer-syntax-unsupported``, ``size-differs``,
        ``decoder-failed``, ``decoder-crashed``, ``decoder-hung``, ``too-slow``
    OutputError
        ``output-unwritable``: no room for a decoder's temporary file.
    """
    planes = list(frames)
    first = planes[0][0]
    if any(
        (instance.rows, instance.columns) != (first.rows, first.columns) for instance, _ in planes
    ):
        raise ValueError("frames of several sizes")
    for instance, frame in planes:
        reason = _unfit(instance)
        if not reason and len(planes) * first.rows * first.columns * 2 > VOLUME_BYTES:
            reason = "too-large"
        if reason:
            raise PixelsUndecodable(instance, frame.number, reason)
    hu = np.empty((len(planes), first.rows, first.columns), np.int16)
    count = min(workers or min(usable_processors(), MOST_WORKERS), len(planes))
    failures = _read_all(planes, hu, count, progress)
    if failures:
        index = min(failures)
        if failures[index] == NO_ROOM:
            raise no_room(os.strerror(errno.ENOSPC))
        raise PixelsUndecodable(planes[index][0], planes[index][1].number, failures[index])
    return hu


def _unfit(instance: Instance) -> str:
    """Return why an instance's pixels are not even tried, or an empty text."""
    if instance.samples_per_pixel != 1 or instance.photometric not in (
        "MONOCHROME1",
        "MONOCHROME2",
    ):
        return "not-monochrome"
    if not instance.rows or not instance.columns:
        return "size-missing"
    if (
        instance.bits_allocated not in (8, 16)
        or not 0 < instance.bits_stored <= instance.bits_allocated
    ):
        return "bits-unsupported"
    # The stored bits start at bit 0 in everything written since 2000; pixels elsewhere would be
    # shifted.
    if instance.high_bit is not None and instance.high_bit != instance.bits_stored - 1:
        return "bits-unsupported"
    return ""


def _read_all(
    planes: list[Plane], hu: NDArray[np.int16], workers: int, progress: Progress
) -> dict[int, str]:
    """Fill ``hu`` and return index -> reason of what failed.

    Indices are handed out in ascending order and none after the first failure, so everything before
    the smallest failed index was tried, and the answer does not depend on the number of workers.
    """
    indices = itertools.count()
    lock, stop = threading.Lock(), threading.Event()
    deadline = time.monotonic() + min(WALL_S + FRAME_SHARE_S * len(planes), MOST_WALL_S)
    children: list[DecoderProcess] = []
    failures: dict[int, str] = {}
    finished: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def work() -> None:
        with ExitStack() as stack:
            stack.callback(finished.put, False)
            decode = _lazy_child(stack, children, deadline)
            while not stop.is_set():
                with lock:
                    index = next(indices)
                if index >= len(planes):
                    return
                reason = _read_frame(planes[index], hu[index], decode)
                if reason:
                    failures[index] = reason
                    stop.set()
                    return
                finished.put(True)

    with ThreadPoolExecutor(workers, thread_name_prefix="pixels") as pool:
        futures = [pool.submit(work) for _ in range(workers)]
        try:
            _watch(finished, workers, len(planes), progress)
        except BaseException:
            # Whoever wants us to stop does not wait for a decoder that hangs.
            stop.set()
            for child in children:
                child.kill()
            raise
        for future in futures:
            future.result()
    return failures


def _watch(
    finished: "queue.SimpleQueue[bool]", workers: int, total: int, progress: Progress
) -> None:
    """Tell of each frame (True in the queue) until every worker has said that it ends (False)."""
    done = 0
    while workers:
        if finished.get():
            done += 1
            progress(STAGE, done, total)
        else:
            workers -= 1


Decode = Callable[[Task, NDArray[np.int16]], str]


def _lazy_child(stack: ExitStack, children: list[DecoderProcess], deadline: float) -> Decode:
    """Return a function that decodes in a child, taken when needed and given back in the end.

    The child stands in ``children`` from then on.
    """
    taken: list[DecoderProcess] = []

    def decode(task: Task, out: NDArray[np.int16]) -> str:
        if not taken:
            taken.append(decoder_process.take())
            children.extend(taken)
            stack.callback(decoder_process.give_back, taken[0])
        reason = taken[0].decode(task, out, deadline)
        return "too-slow" if reason == "decoder-hung" and time.monotonic() > deadline else reason

    return decode


def _read_frame(plane: Plane, out: NDArray[np.int16], decode: Decode) -> str:
    """Fill ``out`` with one frame's HU; return empty, or why not."""
    instance, frame = plane
    form = StoredFormat(
        instance.rows,
        instance.columns,
        instance.bits_allocated,
        instance.bits_stored,
        instance.is_signed,
    )
    slope = 1.0 if frame.rescale_slope is None else frame.rescale_slope
    intercept = 0.0 if frame.rescale_intercept is None else frame.rescale_intercept
    if instance.pixel_offset is None or instance.pixel_length is None:
        task = Task(
            path=str(instance.path),
            transfer_syntax_uid=instance.transfer_syntax_uid,
            form=form,
            frames=len(instance.frames),
            index=frame.number - 1,
            slope=slope,
            intercept=intercept,
        )
        return decode(task, out)
    if frame.number * form.frame_bytes > instance.pixel_length:
        return "pixels-short"
    data = bytearray(form.frame_bytes)
    try:
        with instance.path.open("rb", buffering=0) as stream:
            stream.seek(instance.pixel_offset + (frame.number - 1) * form.frame_bytes)
            if stream.readinto(data) != form.frame_bytes:
                return "pixels-short"
    except OSError:
        return "pixels-missing"
    rescale(words_of(data, form), slope, intercept, out)
    return ""
