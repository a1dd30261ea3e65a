"""How fast log-ins may be tried: exponentially slower, and never shut for good.

An attempt is written down as a failure *before* the password is looked at, so that a hundred at
the same moment do not slip through; a right password takes it back. After ``FREE_...`` failures
within the last hour the next attempt must wait 1 s, 2 s, 4 s, ... at most five minutes after the
last: some 24 guesses an hour. An attempt that came too early is answered 429 and not counted.

Three things are counted: the address, the name, and both together. The waits of a *name* bind
only addresses that failed for it before. So somebody who guesses at a name from elsewhere cannot
keep its owner out, and from every further address he has one guess.
"""

import ipaddress
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from serving.accounts.secret import digest
from serving.database.locks import Lock, hold
from serving.database.tables import log_in_failures
from serving.errors import TooManyRequests

WINDOW_S = 3600.0
LONGEST_WAIT_S = 300.0
FREE_FOR_NAME = 5
# A hospital's readers may share one address.
FREE_FOR_ADDRESS = 20
# 2 ** 9 is above the longest wait: no need to work out larger powers.
MOST_DOUBLINGS = 9


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that was let through: its rows, for taking it back."""

    name: str
    pair: str
    ids: tuple[int, ...]


def wait_s(failures: int, free: int) -> float:
    """Return how long after the last of some failures the next attempt must wait."""
    if failures < free:
        return 0.0
    return min(2.0 ** min(failures - free, MOST_DOUBLINGS), LONGEST_WAIT_S)


def begin_attempt(connection: Connection, name: str, address: str, now: float) -> Attempt:
    """Write down an attempt to log in, or refuse it.

    Parameters
    ----------
    name
        As it is stored, of a user or of nobody.
    address
        Of the client.

    Raises
    ------
    TooManyRequests
        ``too-many-requests``: with the seconds to wait.
    """
    # A hundred at the same moment are counted one after the other.
    hold(connection, Lock.LOG_IN)
    connection.execute(delete(log_in_failures).where(log_in_failures.c.at <= now - WINDOW_S))
    place = _network(address)
    of_name, of_address = digest(f"name:{name}"), digest(f"address:{place}")
    of_both = digest(f"both:{place}:{name}")
    opens_at = _opens_at(connection, of_address, FREE_FOR_ADDRESS)
    if _failures(connection, of_both)[0]:
        opens_at = max(opens_at, _opens_at(connection, of_name, FREE_FOR_NAME))
    if opens_at > now:
        raise TooManyRequests(
            "too many attempts to log in",
            advice="wait, then try again",
            retry_after_s=opens_at - now,
        )
    ids = connection.execute(
        insert(log_in_failures).returning(log_in_failures.c.id),
        [{"subject": subject, "at": now} for subject in (of_name, of_address, of_both)],
    ).scalars()
    return Attempt(of_name, of_both, tuple(ids))


def forgive(connection: Connection, attempt: Attempt) -> None:
    """Take back an attempt whose password was right, and forget its name's failures.

    Those of the address stay: else one account of his own would let a guesser go on for ever.
    """
    hold(connection, Lock.LOG_IN)
    subject, row = log_in_failures.c.subject, log_in_failures.c.id
    connection.execute(
        delete(log_in_failures).where(
            subject.in_((attempt.name, attempt.pair)) | row.in_(attempt.ids)
        )
    )


def _opens_at(connection: Connection, subject: str, free: int) -> float:
    count, last = _failures(connection, subject)
    return last + wait_s(count, free)


def _failures(connection: Connection, subject: str) -> tuple[int, float]:
    count, last = connection.execute(
        select(func.count(), func.max(log_in_failures.c.at)).where(
            log_in_failures.c.subject == subject
        )
    ).one()
    return count, last or 0.0


def _network(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or a whole /64 of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
