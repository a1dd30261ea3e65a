"""What a large answer is made of, out of memory: a slow client takes it for as long as it likes."""

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile

from inference.dicom.scratch import needing_room

# So much of an answer stays in memory: a CT slice has 512 KiB.
IN_MEMORY_BYTES = 1 << 20
_PIECE_BYTES = 1 << 20


class Spool:
    """Bytes that are written once and given in pieces; its file goes with whoever needs it last."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115  (closed below)
        self.size_bytes = 0

    def __del__(self) -> None:
        self._file.close()

    def add(self, data: bytes) -> Iterator[bytes]:
        """Write, and return the same in pieces, to be read when everything is written.

        Raises
        ------
        OutputError
            ``output-unwritable``
        """
        with needing_room():
            self._file.write(data)
            self._file.flush()
        start = self.size_bytes
        self.size_bytes += len(data)
        return self._pieces(start, self.size_bytes)

    def whole(self) -> Iterator[bytes]:
        """Return everything in pieces, to be read when everything is written."""
        return self._pieces(0, self.size_bytes)

    def _pieces(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            self._file.seek(start)
            piece = self._file.read(min(_PIECE_BYTES, end - start))
            yield piece
            start += len(piece)
