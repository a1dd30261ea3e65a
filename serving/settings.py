"""The service's settings: ``FIRSTREAD_*`` in the environment, each with a default that works."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from firstread.errors import ConfigurationError

PREFIX = "FIRSTREAD_"
# Read elsewhere: by firstread send, by fault points and the engine ray, and by tests.
OTHERS = frozenset(PREFIX + name for name in ("TOKEN", "FAULT", "RAY_FOLDER", "NO_SKIP"))

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[int, Field(ge=1)]
# Unless somebody says otherwise: a worker that is late once must not lose its job.
LEASE_HEARTBEATS = 6
MIB = 1 << 20
GIB = 1 << 30


DRIVERS = frozenset({"sqlite", "sqlite+pysqlite", "postgresql+psycopg"})


def _checked_url(url: str) -> str:
    """Refuse what is no URL of a database; without a word of it, for it may hold a password."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        driver = make_url(url).drivername
    except (ArgumentError, ValueError):
        driver = ""
    if driver not in DRIVERS:
        raise ValueError(
            "is neither sqlite:////PATH nor postgresql+psycopg://USER:PASSWORD@HOST/DATABASE "
            "(signs like @ : / ? # in a password are written as %40 %3A %2F %3F %23)"
        ) from None
    return url


class Settings(BaseSettings):
    """All settings; frozen, and read once at the start of a process.

    Attributes
    ----------
    data
        Folder of database and store.
    database
        SQLAlchemy URL, ``sqlite:////path`` or ``postgresql+psycopg://...``; default: a file of
        SQLite in ``data``. It may hold a password: no error and no log line quotes it.
    host, port
        Where the service listens.
    hosts
        Names under which people reach it, with commas between them: a request for another one is
        refused. Addresses, ``localhost`` and the machine's own name need no mention.
    engine
        ``inline``: worker processes of our own; ``ray``: replicas of Ray Serve.
    ray_address
        Of an existing cluster; None: a local Ray that we start and end.
    workers
        Analyses at the same time: processes (inline) or replicas (ray).
    threads
        Of each analysis; None: the cores shared among the workers.
    package, operating_point
        What scores; None: the newest package that ships.
    urgency
        File that says what is urgent; None: the one that ships.
    settle_s
        A study with images settles when none has come for so long.
    lease_s, heartbeat_s
        A worker that has not spoken for ``lease_s`` loses its job; it speaks every
        ``heartbeat_s``, a sixth of the lease unless it is set.
    analysis_s
        An analysis that takes longer ends its process: native code that hangs ends in no other way.
    attempts
        A job that ends its process so often is quarantined.
    pause_s
        Others go first for so long when a job has failed; twice as long each time, two minutes at
        most.
    max_request_bytes, max_instance_bytes, max_parts
        Ceilings of one STOW-RS request.
    min_rate_bytes_s
        A sender slower than this over half a minute is cut off.
    free_bytes
        Uploads are refused (503) while the store has less room than this.
    session_s
        A log-in ends after so long without use.
    session_longest_s
        And after so long whatever its use.
    claim_s
        A reader of whom nothing was heard for so long loses the case that he claimed.
    ping_s
        Open pages hear so often that they are live, and say that they are not after two silences.
    metrics_token
        Lets a scraper read ``/metrics`` from elsewhere than loopback; once ``hosts`` or
        ``secure_cookies`` is set, from there, too.
    demonstration
        Sends the demonstration studies that are not there, unless other hospitals' are, and allows
        the demonstration's log-in on loopback as long as neither ``hosts`` nor ``secure_cookies``
        is set.
    log
        File for the log of all processes; None: standard error.
    secure_cookies
        Set behind TLS: cookies are sent over https only.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    data: Path = Path("var")
    database: Annotated[str, AfterValidator(_checked_url)] | None = Field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8042
    hosts: str = ""
    engine: Literal["inline", "ray"] = "inline"
    ray_address: str | None = None
    workers: Count = 1
    threads: Count | None = None
    package: str | None = None
    operating_point: str = "balanced"
    urgency: Path | None = None
    settle_s: Seconds = 20.0
    lease_s: Seconds = 60.0
    heartbeat_s: float = Field(
        gt=0, default_factory=lambda known: known["lease_s"] / LEASE_HEARTBEATS
    )
    analysis_s: Seconds = 1800.0
    attempts: Count = 3
    pause_s: Seconds = 5.0
    max_request_bytes: Bytes = 8 * GIB
    max_instance_bytes: Bytes = 2 * GIB
    max_parts: Count = 20_000
    min_rate_bytes_s: Annotated[int, Field(ge=0)] = 1000
    free_bytes: Bytes = 2 * GIB
    session_s: Seconds = 12 * 3600.0
    session_longest_s: Seconds = 24 * 3600.0
    claim_s: Seconds = 900.0
    ping_s: Seconds = 10.0
    metrics_token: str | None = None
    demonstration: bool = False
    log: Path | None = None
    secure_cookies: bool = False

    @model_validator(mode="after")
    def _a_lease_outlasts_a_heartbeat(self) -> Self:
        if self.heartbeat_s >= self.lease_s:
            raise ValueError(
                f"a lease (FIRSTREAD_LEASE_S, {self.lease_s:g} s) must outlast a heartbeat "
                f"(FIRSTREAD_HEARTBEAT_S, {self.heartbeat_s:g} s)"
            )
        return self

    @property
    def is_for_others(self) -> bool:
        """Whether it is meant to be reached from elsewhere: by a name, or behind TLS."""
        return bool(self.hosts) or self.secure_cookies

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL."""
        return self.database or f"sqlite:///{(self.data / 'firstread.sqlite').absolute()}"

    @property
    def store_folder(self) -> Path:
        """Root of the content-addressed store."""
        return self.data / "store"


def refuse_unknown(names: Iterable[str]) -> None:
    """Refuse variables that look like settings and are none: a misspelt one must not be no setting.

    Parameters
    ----------
    names
        Of the environment.

    Raises
    ------
    ConfigurationError
        ``configuration``: names the variable, and the setting that it resembles.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in sorted(names):
        if name.startswith(PREFIX) and name not in known | OTHERS:
            alike = get_close_matches(name, known, 1)
            raise ConfigurationError(
                f"{name} is no setting",
                advice=f"did you mean {alike[0]}?" if alike else "see docs/service.md",
            )


def read_settings(**changes: object) -> Settings:
    """Read the environment.

    Parameters
    ----------
    changes
        What the command line says, over the environment; None leaves a setting as it is.

    Raises
    ------
    ConfigurationError
        ``configuration``: a value that is none; names the variable and what it must be.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # checked by pydantic
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + ".".join(str(part) for part in first["loc"]).upper()
        what = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        raise ConfigurationError(
            f"{name}: {what}" if first["loc"] else what,
            advice="see docs/service.md for what it may be",
        ) from error
