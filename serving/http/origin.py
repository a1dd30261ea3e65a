"""Where a request comes from and goes to: hosts, origins, local paths, loopback."""

import ipaddress
import socket
from functools import cache
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request

from serving.settings import Settings

MOST_PATH = 2000
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


def is_known_host(host: str | None, settings: Settings) -> bool:
    """Whether a request's ``Host`` is this service.

    A page from elsewhere whose name is made to lead here (DNS rebinding) would be of our origin.
    It needs a name for that: addresses are always ours. No header at all: no browser.
    """
    if host is None:
        return True
    name = _name(host)
    return name is not None and (
        _is_address(name) or name in _own_names() or name in _names(settings.hosts)
    )


def is_same_origin(headers: Headers) -> bool:
    """Whether a request that changes something was made by our own pages, or by no browser."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None or (origin == "null" and site == "same-origin"):
        return True
    # Without the scheme: TLS may end before us.
    return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def is_loopback(request: Request, settings: Settings) -> bool:
    """Whether somebody at this machine asks it by a name of its own, through no proxy.

    A proxy that says nothing of itself looks the same: in a service for others nobody is here.
    """
    if settings.is_for_others:
        return False
    if any(name in request.headers for name in FORWARDED) or request.client is None:
        return False
    name = _name(request.headers.get("host", ""))
    return _is_loopback(request.client.host) and (name == "localhost" or _is_loopback(name or ""))


def local_path(text: str | None) -> str:
    r"""Return where to go after a log-in: a path of ours, or ``/`` for everything else.

    Browsers read ``//host``, ``/\host`` and a path with a tab in it as other hosts.
    """
    if not text or len(text) > MOST_PATH or not text.isprintable():
        return "/"
    if not text.startswith("/") or text.startswith("//") or "\\" in text:
        return "/"
    return text


def _name(host: str) -> str | None:
    """Return the host of ``host[:port]``, without brackets; None: it is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _names(hosts: str) -> set[str]:
    return {name.strip().lower() for name in hosts.split(",")} - {""}


@cache
def _own_names() -> frozenset[str]:
    return frozenset({"localhost", socket.gethostname().lower(), socket.getfqdn().lower()})


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    return _is_address(address) and ipaddress.ip_address(address).is_loopback
