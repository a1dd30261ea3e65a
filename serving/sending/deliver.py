"""Studies to a server, with patience: what is acknowledged is counted, what is not is sent again.

A request may have been taken although its answer was lost; a server that is idempotent (ours is)
answers "had it already" the second time, so sending again is always right.
"""

import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import httpx

from firstread.errors import NotDelivered, ServiceUnreachable, UsageError
from firstread.progress import Progress, silent
from serving.sending.outgoing import OutgoingFile, OutgoingStudy
from serving.sending.stow import CannotRead, Refused, StowAnswer, store, why_unreadable

STAGE = "send"
# One answer for so many: few enough that a broken line costs little to send again.
BATCH_BYTES = 32 * 1024 * 1024
BATCH_FILES = 200
_CONNECT_S, _IDLE_S = 10.0, 120.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
# Of these files, not of us: the other studies may be welcome.
_OF_THIS_REQUEST = frozenset({400, 413, 415})
# Busy, throttled, restarting, or behind a proxy that is: the same request may go well later.
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class NotSent:
    """A file that could not be sent, and why (a stable word such as ``vanished``)."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of one study."""

    study_uid: str
    files: int
    stored: int
    refused: tuple[Refused, ...]
    not_sent: tuple[NotSent, ...]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try: seconds without one acknowledged request, after which sending is given up.

    ``tell`` is told each time why it is tried again, and when; ``clock`` and ``sleep`` are the
    process's own unless a test brings others.
    """

    seconds: float = 600.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    tell: Callable[[str], None] = lambda _line: None


@dataclass(slots=True)
class _Count:
    progress: Progress
    total: int
    done: int = 0
    in_request: int = field(default=0)

    def sent(self, size: int) -> None:
        self.in_request += size
        self.progress(STAGE, self.done + self.in_request, self.total)

    def settle(self, size: int) -> None:
        """End a request: acknowledged bytes stay counted, others will be sent again."""
        self.done, self.in_request = self.done + size, 0
        self.progress(STAGE, self.done, self.total)


def open_client(url: str, token: str) -> httpx.Client:
    """Return a client for a server's DICOMweb root.

    Parameters
    ----------
    url
        Of the service (``https://reader.example``), or of any DICOMweb root that ends in a path.

    Raises
    ------
    UsageError
        ``usage``: no http or https address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"--to {url!r} is no address", advice="for instance --to https://reader.example"
        )
    root = url.rstrip("/")
    if parts.path in ("", "/"):
        root += "/dicom-web"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = httpx.Timeout(_IDLE_S, connect=_CONNECT_S)
    return httpx.Client(base_url=root + "/", headers=headers, timeout=timeout)


def deliver(
    client: httpx.Client,
    studies: Sequence[OutgoingStudy],
    progress: Progress = silent,
    patience: Patience | None = None,
) -> Iterator[Delivered]:
    """Send studies one after the other and yield what the server said of each.

    Raises
    ------
    ServiceUnreachable
        ``unreachable``: nobody answered for as long as the patience lasts.
    NotDelivered
        ``not-delivered``: the server refuses us: no rights, another address.
    """
    patience = patience or Patience()
    _greet(client)
    count = _Count(progress, sum(study.size_bytes for study in studies))
    for study in studies:
        stored = 0
        refused: list[Refused] = []
        not_sent: list[NotSent] = []
        for batch in batches(study.files):
            left = batch
            while left:
                try:
                    answer = _persist(client, left, count, patience)
                except CannotRead as lost:
                    # Where one went others may have gone: each would break off one more request.
                    gone = {file: why for file in left if (why := why_unreadable(file))}
                    gone[lost.file] = lost.reason
                    not_sent += [NotSent(str(file.path), why) for file, why in gone.items()]
                    left = tuple(file for file in left if file not in gone)
                    count.settle(0)
                else:
                    stored += answer.stored
                    refused += answer.refused
                    break
            count.settle(sum(file.size_bytes for file in batch))
        yield Delivered(study.study_uid, len(study.files), stored, tuple(refused), tuple(not_sent))


def batches(files: Sequence[OutgoingFile]) -> Iterator[tuple[OutgoingFile, ...]]:
    """Yield the files in order, in runs of bounded size; a larger file goes alone."""
    batch: list[OutgoingFile] = []
    size = 0
    for file in files:
        if batch and (size + file.size_bytes > BATCH_BYTES or len(batch) == BATCH_FILES):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(file)
        size += file.size_bytes
    if batch:
        yield tuple(batch)


def _greet(client: httpx.Client) -> None:
    """Ask for next to nothing first: a server without rights for us would cut a large body off.

    Whatever else goes wrong here is left to the requests that have patience.
    """
    try:
        status = client.get("studies", params={"limit": "1"}).status_code
    except httpx.TransportError as error:
        _refuse_for_good(error)
        return
    if status in (401, 403):
        raise NotDelivered(
            f"{client.base_url.host}: status {status}", advice=_advice(client, status)
        )


def _persist(
    client: httpx.Client, batch: tuple[OutgoingFile, ...], count: _Count, patience: Patience
) -> StowAnswer:
    """Send one batch until the server has said what became of each instance."""
    end = patience.clock() + patience.seconds
    wait_s = _FIRST_WAIT_S
    while True:
        asked_s = None
        try:
            answer = store(client, batch, count.sent)
        except httpx.TransportError as error:
            _refuse_for_good(error)
            what = f"{client.base_url.host}: {error.__class__.__name__}"
        else:
            if answer.is_decided:
                return answer
            what = f"{client.base_url.host}: status {answer.status}. {answer.detail}".rstrip()
            if answer.status in _OF_THIS_REQUEST:
                return _all_refused(batch, answer)
            if answer.status not in _LATER:
                raise NotDelivered(what, advice=_advice(client, answer.status))
            asked_s = answer.retry_after_s
        count.settle(0)
        pause_s = max(wait_s, asked_s or 0.0)
        if patience.clock() + pause_s > end:
            raise ServiceUnreachable(
                what,
                advice="see whether the service runs and the line is up, then send again: "
                "what is there already is not stored twice",
            )
        patience.tell(f"{what}: tried again in {pause_s:.0f} s")
        patience.sleep(pause_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _all_refused(batch: tuple[OutgoingFile, ...], answer: StowAnswer) -> StowAnswer:
    why = f"status {answer.status}. {answer.detail}".rstrip()
    return replace(answer, refused=tuple(Refused(file.sop_instance_uid, 0, why) for file in batch))


def _refuse_for_good(error: httpx.TransportError) -> None:
    """Raise for what no patience mends: a certificate that is not trusted."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise NotDelivered(
                f"the server's certificate is not trusted ({cause.verify_message})",
                advice="have the certificate's authority installed, or set SSL_CERT_FILE to it",
            ) from error
        cause = cause.__cause__ or cause.__context__


def _advice(client: httpx.Client, status: int) -> str:
    if status == 401 and "Authorization" not in client.headers:
        return "give your site's token with --token, or better in FIRSTREAD_TOKEN"
    if status == 401:
        return "the token is unknown or revoked: ask for another one, firstread tokens add"
    if status == 403:
        return "the token may not send here: ask for one of your site, firstread tokens add"
    if status == 404:
        return "give the service's own address, or its DICOMweb root"
    return "the service does not take this request; report it with the status"
