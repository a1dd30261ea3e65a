"""WADO-RS, instances: as they are stored, or as Explicit VR Little Endian.

What is stored goes as it came, but for the preamble, which may be executable and is zeros here
unless it makes the file a TIFF as well (PS3.10 7.5). What is converted is made in turns of the work
on pixels, one instance at a time, out of memory. What cannot be had in an accepted form is left out
and told: 206 (PS3.18 table 10.4.3-1).
"""

import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from firstread.errors import OutputError
from inference.dicom.converted import converted, ensure_convertible
from inference.dicom.stored_frames import FrameRefused
from serving.api.media_types import DICOM
from serving.api.negotiation import NATIVE_SYNTAXES, Form, Part, caching, multipart
from serving.api.pixel_work import PixelWork
from serving.api.spool import Spool
from serving.api.wado import Retrieval
from serving.archive.index import InstanceRow
from serving.errors import NotAcceptable, TooLarge, Unavailable

PREAMBLE_BYTES = 128
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_CHUNK_BYTES = 1 << 20

_ADVICE = 'accept multipart/related; type="application/dicom"; transfer-syntax=*'


@dataclass(frozen=True, slots=True)
class Wanted:
    """An instance, and the forms in which it may be given, most wanted first."""

    row: InstanceRow
    forms: tuple[Form, ...]

    @property
    def is_compressed(self) -> bool:
        """Whether its frames would have to be decoded for the form that is wanted most."""
        is_native = self.row.transfer_syntax_uid in NATIVE_SYNTAXES
        return bool(self.forms) and self.forms[0].is_decoded and not is_native


@dataclass(frozen=True, slots=True)
class Given:
    """One request for instances.

    Attributes
    ----------
    free_bytes
        What must stay free where converted instances wait to be taken.
    """

    retrieval: Retrieval
    work: PixelWork
    free_bytes: int

    async def response(self, wanted: Sequence[Wanted], tag: str) -> Response:
        """Return instances, streamed; what has no accepted form is left out.

        The first one is made before the answer begins, so what is wrong with it is told with a
        status; what is wrong with a later one ends the answer early.

        Raises
        ------
        NotAcceptable
            ``not-acceptable``: none can be given.
        TooLarge
            ``too-large``: none can, the last of them for its size.
        Unavailable
            ``unavailable``: no room, or too many at once.
        ObjectDamaged
            ``object-damaged``
        """
        waiting = await self._convertible(wanted)
        form, first = await self._first(waiting)
        if not form.is_multipart:
            return _alone(first, tag)
        left_out = len(wanted) - len(waiting) - 1
        later = [self._later(one) for one in waiting]
        answer = multipart([first, *later], DICOM, tag, 206 if left_out else 200)
        if left_out:
            answer.headers["Warning"] = (
                f'299 firstread "Left out, for no accepted transfer syntax fits: {left_out} '
                'instances. Ask for them with transfer-syntax=*"'
            )
        return answer

    async def _first(self, waiting: list[Wanted]) -> tuple[Form, Part]:
        """Take out of the list what cannot be made, and the first that can; return it."""
        problem: NotAcceptable | TooLarge = _not_acceptable("no accepted form can be given")
        while waiting:
            try:
                return await self._part(waiting.pop(0), has_begun=False)
            except FrameRefused as refused:
                problem = _problem(refused.reason)
        raise problem

    async def _convertible(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Return what can be given as far as headers say, each in the forms that are left."""
        kept = [one for one in wanted if one.forms]
        if len(kept) == 1 or not any(one.is_compressed for one in kept):
            # A single one is made before the answer begins anyway.
            return kept

        def steps() -> Iterator[None]:
            for place, one in enumerate(kept):
                if one.is_compressed:
                    try:
                        # Damage is told when its turn has come.
                        with suppress(OSError):
                            ensure_convertible(self.retrieval.store.path(one.row.sha256))
                    except FrameRefused:
                        forms = tuple(form for form in one.forms if not form.is_decoded)
                        kept[place] = replace(one, forms=forms)
                    yield

        await self.work.run_all(steps())
        return [one for one in kept if one.forms]

    def _later(self, wanted: Wanted) -> Part | Callable[[], Awaitable[Part]]:
        """Return a part as it is stored, or what makes it when its turn has come."""
        form = wanted.forms[0]
        if not form.is_decoded:
            return self._as_stored(wanted.row, form)

        async def make() -> Part:
            _, part = await self._part(wanted, has_begun=True)
            return part

        return make

    def _as_stored(self, row: InstanceRow, form: Form) -> Part:
        return Part(form.media_type, self.retrieval.url(row), row.size_bytes, self._stored(row))

    async def _part(self, wanted: Wanted, *, has_begun: bool) -> tuple[Form, Part]:
        """Return an instance in the first of its forms in which it can be had.

        Raises
        ------
        FrameRefused
            It is not decoded, and accepted in no other form.
        """
        row, url = wanted.row, self.retrieval.url(wanted.row)
        refusal = FrameRefused("")
        for form in wanted.forms:
            if not form.is_decoded:
                await run_in_threadpool(self.retrieval.file, row)
                return form, self._as_stored(row, form)
            spool = Spool()
            try:
                await self.work.run_all(self._spooling(row, spool), has_begun=has_begun)
            except FrameRefused as refused:
                refusal = refused
            except OutputError as error:
                raise Unavailable("no room for pixels", advice="ask again later") from error
            else:
                return form, Part(form.media_type, url, spool.size_bytes, spool.whole())
        raise refusal

    def _stored(self, row: InstanceRow) -> Iterator[bytes]:
        """Yield an object as it is given."""
        with self.retrieval.file(row).open("rb", buffering=0) as stream:
            preamble = stream.read(PREAMBLE_BYTES)
            yield preamble if preamble.startswith(_TIFF) else bytes(len(preamble))
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk

    def _spooling(self, row: InstanceRow, spool: Spool) -> Iterator[None]:
        """Convert an object into a spool, step by step."""
        for piece in converted(self.retrieval.file(row)):
            if shutil.disk_usage(tempfile.gettempdir()).free - len(piece) < self.free_bytes:
                raise Unavailable("no room for pixels", advice="ask again later")
            spool.add(piece)
            yield


def _alone(part: Part, tag: str) -> Response:
    """Return one instance as the whole body."""
    uid = part.location.rpartition("/")[2]
    headers = {
        "Content-Length": str(part.size_bytes),
        "Content-Disposition": f'attachment; filename="{uid}.dcm"',
        **caching(tag),
    }
    return StreamingResponse(part.body, media_type=part.media_type, headers=headers)


def _not_acceptable(why: str) -> NotAcceptable:
    return NotAcceptable(why, advice=_ADVICE)


def _problem(reason: str) -> NotAcceptable | TooLarge:
    """Return what tells why an instance cannot be converted."""
    if reason == "too-large":
        return TooLarge("decoded it would be too large", advice=_ADVICE)
    return _not_acceptable(f"it cannot be given as Explicit VR Little Endian: {reason}")
