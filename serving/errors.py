"""What a request can be told: errors of the family with an HTTP status, for ``problem+json``."""

from collections.abc import Mapping
from typing import Any

from firstread.errors import FirstreadError


class BadRequest(FirstreadError):
    """The request is malformed; nothing of it was kept."""

    code = "bad-request"
    http_status = 400


class NotAuthenticated(FirstreadError):
    """Nobody knows who asks."""

    code = "not-authenticated"
    http_status = 401


class NotAllowed(FirstreadError):
    """Who asks has no right to this."""

    code = "not-allowed"
    http_status = 403


class NotFound(FirstreadError):
    """It is not there, or who asks may not know that it is."""

    code = "not-found"
    http_status = 404


class NotAcceptable(FirstreadError):
    """It cannot be given in any form that was asked for."""

    code = "not-acceptable"
    http_status = 406


class TooSlow(FirstreadError):
    """The sender is slower than the least rate."""

    code = "too-slow"
    http_status = 408


class Conflict(FirstreadError):
    """What is there is no longer what who asks knew; ``current`` says what it is now."""

    code = "conflict"
    http_status = 409

    def __init__(self, message: str, *, advice: str = "", current: Mapping[str, Any]) -> None:
        super().__init__(message, advice=advice)
        self.current = current


class TooLarge(FirstreadError):
    """Above a ceiling; the message names it."""

    code = "too-large"
    http_status = 413


class WrongMediaType(FirstreadError):
    """The body is of a kind that is not taken here."""

    code = "wrong-media-type"
    http_status = 415


class Misdirected(FirstreadError):
    """The request is for another host than this one."""

    code = "misdirected"
    http_status = 421


class TooManyRequests(FirstreadError):
    """Throttled; try again after ``retry_after_s``."""

    code = "too-many-requests"
    http_status = 429

    def __init__(self, message: str, *, advice: str = "", retry_after_s: float) -> None:
        super().__init__(message, advice=advice)
        self.retry_after_s = retry_after_s


class Unavailable(FirstreadError):
    """No room, or the database does not answer; nothing was kept, send again later."""

    code = "unavailable"
    exit_code = 9
    http_status = 503


class DatabaseBusy(Unavailable):
    """Others hold what is wanted, or ask too much at once; nothing was kept, send again later."""

    code = "database-busy"


class ObjectDamaged(FirstreadError):
    """Stored bytes are no longer those that were acknowledged; they are never served."""

    code = "object-damaged"
    http_status = 500
