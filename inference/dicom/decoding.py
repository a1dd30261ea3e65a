"""Pixels of many frames to HU, in the order asked for.

Native little endian pixels are plain bytes: reading them runs no decoder that could crash, so they
are read here, straight from their place in the file. Everything else is decoded in child processes
(``decoder_process``), one for each worker, and arrives in the same array: there is one copy of the
volume.
"""

import itertools
import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from firstread.progress import Progress, silent
from inference.dicom import decoder_process
from inference.dicom.instance import Frame, Instance
from inference.dicom.stored import StoredFormat, rescale, words_of
from inference.dicom.wire import Task

STAGE = "pixels"

# 4,096 slices of 512 x 512, or 1,024 of 1,024 x 1,024.
VOLUME_BYTES = 2 * 1024**3
# More workers than this gain nothing against the disk, and each child keeps about 100 MB.
MOST_WORKERS = 4

Plane = tuple[Instance, Frame]


class PixelsUndecodable(Exception):  # noqa: N818  (a value for the gate, not an error of ours)
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
        ``decoder-failed``, ``decoder-crashed``, ``decoder-hung``
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
    count = min(workers or _default_workers(), len(planes))
    failures = _read_all(planes, hu, count, progress)
    if failures:
        index = min(failures)
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


def _default_workers() -> int:
    # Containers lend fewer cores than the machine has; only Linux says so.
    lent = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(lent or 1, MOST_WORKERS)


def _read_all(
    planes: list[Plane], hu: NDArray[np.int16], workers: int, progress: Progress
) -> dict[int, str]:
    """Fill ``hu`` and return index -> reason of what failed.

    Indices are handed out in ascending order and none after the first failure, so everything before
    the smallest failed index was tried, and the answer does not depend on the number of workers.
    """
    indices = itertools.count()
    lock, stop = threading.Lock(), threading.Event()
    failures: dict[int, str] = {}
    finished: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def work() -> None:
        with ExitStack() as stack:
            stack.callback(finished.put, False)
            decode = _lazy_child(stack)
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
            done = 0
            running = workers
            while running:
                if finished.get():
                    done += 1
                    progress(STAGE, done, len(planes))
                else:
                    running -= 1
        finally:
            stop.set()
        for future in futures:
            future.result()
    return failures


Decode = Callable[[Task, NDArray[np.int16]], str]


def _lazy_child(stack: ExitStack) -> Decode:
    """Return a function that decodes in a child, taken when needed and given back in the end."""
    taken: list[decoder_process.DecoderProcess] = []

    def decode(task: Task, out: NDArray[np.int16]) -> str:
        if not taken:
            taken.append(decoder_process.take())
            stack.callback(lambda: decoder_process.give_back(taken[0]))
        return taken[0].decode(task, out)

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
