"""Every table of the service, on one page.

Times are seconds since 1970 in UTC, UIDs are text, hashes are hexadecimal SHA-256 and at the same
time the key of an object in the store. Rows of ``events`` and ``views`` are only ever added.
Alembic's migrations make these tables; a test holds the two against each other.

Texts are compared by code point, and numbers of rows and bytes have 64 bits, on every database:
SQLite does so by itself, PostgreSQL is told.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[int]:
    """Make the first column of a table: a number that the database gives."""
    # SQLite numbers rows by itself in a column of exactly this type, which has 64 bits there.
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


def _text(characters: int) -> TypeEngine[str]:
    """Return the type of a text; PostgreSQL would sort it by the locale of its server."""
    return String(characters).with_variant(String(characters, collation="C"), "postgresql")


def _one_of(column: str, *words: str) -> CheckConstraint:
    """Hold a column to the words of its enum, which a test compares."""
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


_ORDERED = ("stat", "urgent", "routine", "backlog")
_CLASSES = (*_ORDERED, "ai-critical")


def _where(condition: str) -> dict[str, Any]:
    """Make an index hold only the rows of a condition, which queries must repeat word for word."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


ROUTED = "reading_state = 'routed'"
CLAIMED = "reading_state = 'claimed'"

# --- pools ----------------------------------------------------------------------------------------

# Who reads together: hospitals send to a pool, its readers take its cases.
pools = Table(
    "pools",
    metadata,
    _id(),
    Column("code", _text(32), nullable=False, unique=True),
    Column("name", _text(200), nullable=False),
    # Everybody who may claim reads every key here; else as reader_keys say.
    Column("is_open", Boolean, nullable=False, server_default=false()),
    # Capacity: how many read at the same time, and how long they need for a case, on average.
    Column("readers", Double, nullable=False),
    Column("reading_minutes", Double, nullable=False),
    # Of the token, and how many decisions there were: both change with each decision alone.
    Column("credit", Double, nullable=False, server_default=text("0")),
    Column("version", BigInteger, nullable=False, server_default=text("0")),
    Column("created_at", Double, nullable=False),
    CheckConstraint("readers > 0 AND reading_minutes > 0", name="capacity"),
)

# Qualification keys: what a reader must be able to read. One small number for each combination.
reading_keys = Table(
    "reading_keys",
    metadata,
    _id(),
    Column("modality", _text(16), nullable=False),
    # Of serving.worklist.keys; empty: not known.
    Column("body_part", _text(32), nullable=False),
    Column("age_group", _text(16), nullable=False),
    # A finding that needs a specialist; empty: none.
    Column("special", _text(32), nullable=False, server_default=""),
    UniqueConstraint("modality", "body_part", "age_group", "special"),
)

# --- accounts -------------------------------------------------------------------------------------

sites = Table(
    "sites",
    metadata,
    _id(),
    Column("code", _text(32), nullable=False, unique=True),
    Column("name", _text(200), nullable=False),
    # The class of a study for which the sender orders none.
    Column("ordered_class", _text(16), nullable=False, server_default="routine"),
    # "on_arrival": every study is applied for at once; "by_hand": somebody applies.
    Column("application", _text(16), nullable=False, server_default="on_arrival"),
    # Of urgency.yaml: how long its cases may wait.
    Column("tier", _text(32), nullable=False, server_default="standard"),
    # Who reads its studies; None: the pool "default".
    Column("pool_id", ForeignKey("pools.id")),
    # Cases a day as agreed; 0: nothing was.
    Column("contract_per_day", Double, nullable=False, server_default=text("0")),
    Column("created_at", Double, nullable=False),
    CheckConstraint("contract_per_day >= 0", name="contract"),
)

users = Table(
    "users",
    metadata,
    _id(),
    Column("name", _text(64), nullable=False, unique=True),
    Column("password_hash", _text(200), nullable=False),
    Column("role", _text(16), nullable=False),
    # None: all sites.
    Column("site_id", ForeignKey("sites.id")),
    # zh-CN or en; None: as the browser asks.
    Column("language", _text(8)),
    # light or dark; None: as the browser asks.
    Column("theme", _text(8)),
    Column("is_active", Boolean, nullable=False, server_default=true()),
    # Its password is in the documentation: logs in on loopback and with demonstration data only.
    Column("is_demonstration", Boolean, nullable=False, server_default=false()),
    Column("created_at", Double, nullable=False),
    _one_of("role", "sender", "reader", "researcher", "mlops", "admin"),
)

# Which keys a user reads in a pool that is not open.
reader_keys = Table(
    "reader_keys",
    metadata,
    Column("user_id", ForeignKey("users.id"), primary_key=True),
    Column("pool_id", ForeignKey("pools.id"), primary_key=True),
    Column("key_id", ForeignKey("reading_keys.id"), primary_key=True),
)

# The leaky bucket of a hospital in a pool (serving.worklist.allowance), in operational minutes.
allowances = Table(
    "allowances",
    metadata,
    Column("pool_id", ForeignKey("pools.id"), primary_key=True),
    Column("site_id", ForeignKey("sites.id"), primary_key=True),
    Column("tat_min", Double, nullable=False),
    # Of the last case: a clock that was set back takes the bucket with it.
    Column("charged_min", Double, nullable=False),
)

# How many cases a hospital sent to a pool on a day (counted from the year 1), for its usual volume.
site_days = Table(
    "site_days",
    metadata,
    Column("pool_id", ForeignKey("pools.id"), primary_key=True),
    Column("site_id", ForeignKey("sites.id"), primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("cases", Integer, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("sha256", _text(64), primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
    Column("csrf_token", _text(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
)

log_in_failures = Table(
    "log_in_failures",
    metadata,
    _id(),
    # SHA-256 of what is throttled, a name or an address: people type passwords as names.
    Column("subject", _text(64), nullable=False),
    Column("at", Double, nullable=False),
    Index(None, "subject", "at"),
)

tokens = Table(
    "tokens",
    metadata,
    _id(),
    Column("site_id", ForeignKey("sites.id"), nullable=False),
    Column("label", _text(100), nullable=False),
    Column("sha256", _text(64), nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("used_at", Double),
    Column("revoked_at", Double),
)

views = Table(
    "views",
    metadata,
    _id(),
    # Who looked: one of the two.
    Column("user_id", ForeignKey("users.id")),
    Column("token_id", ForeignKey("tokens.id")),
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    # What was looked at: "case", "seg.dcm", "key_images/1.png", "dicom", ...
    Column("what", _text(64), nullable=False),
    Column("at", Double, nullable=False),
    Index(None, "case_id", "at"),
    CheckConstraint("(user_id IS NULL) <> (token_id IS NULL)", name="looker"),
)

# --- archive --------------------------------------------------------------------------------------

studies = Table(
    "studies",
    metadata,
    _id(),
    Column("study_uid", _text(64), nullable=False, unique=True),
    # Who sent it first; nobody else may add to it or see it.
    Column("site_id", ForeignKey("sites.id"), nullable=False, index=True),
    # Raised by every request that adds an image; an analysis of an older one does not count.
    Column("generation", Integer, nullable=False, server_default=text("0")),
    Column("received_at", Double, nullable=False),
    # Of the last image; what settles is a study with images.
    Column("image_received_at", Double),
    Column("patient_name", _text(400), nullable=False),
    Column("patient_id", _text(200), nullable=False),
    Column("birth_date", _text(8), nullable=False),
    Column("sex", _text(16), nullable=False),
    Column("study_date", _text(8), nullable=False),
    Column("study_time", _text(16), nullable=False),
    Column("accession_number", _text(200), nullable=False),
    Column("description", _text(400), nullable=False),
    Column("referring_physician", _text(400), nullable=False, server_default=""),
    # Study ID (0020,0010), the sender's own number.
    Column("study_number", _text(64), nullable=False, server_default=""),
    # Declared character sets (joined by a backslash) -> codec of inference.dicom.charsets, decided
    # over all names of the study.
    Column("codecs", JSON, nullable=False),
    # What the texts above were made from, one character for each byte, and what decides the codecs:
    # both are looked at again when the study settles.
    Column("texts_as_sent", JSON, nullable=False, server_default="{}"),
    Column("charset_votes", JSON, nullable=False, server_default="{}"),
    # Name, patient ID and accession number, normalised for search.
    Column("search", _text(600), nullable=False),
    Index(None, "study_date"),
)

series = Table(
    "series",
    metadata,
    _id(),
    Column("study_id", ForeignKey("studies.id"), nullable=False, index=True),
    Column("series_uid", _text(64), nullable=False),
    Column("modality", _text(16), nullable=False),
    Column("number", Integer),
    Column("description", _text(400), nullable=False),
    Column("body_part", _text(64), nullable=False),
    # As of studies.
    Column("texts_as_sent", JSON, nullable=False, server_default="{}"),
    UniqueConstraint("study_id", "series_uid"),
)

instances = Table(
    "instances",
    metadata,
    _id(),
    Column("study_id", ForeignKey("studies.id"), nullable=False),
    Column("series_id", ForeignKey("series.id"), nullable=False, index=True),
    Column("sop_instance_uid", _text(64), nullable=False, unique=True),
    Column("sop_class_uid", _text(64), nullable=False),
    Column("transfer_syntax_uid", _text(64), nullable=False),
    Column("number", Integer),
    Column("rows", Integer),
    Column("columns", Integer),
    Column("frames", Integer, nullable=False, server_default=text("1")),
    # An object of the store: the bytes exactly as received.
    Column("sha256", _text(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    # False for SEG, SR and everything else that is made from images: never starts an analysis.
    Column("is_source", Boolean, nullable=False),
    # Our own results: shown only while their result is.
    Column("result_id", ForeignKey("results.id")),
    Column("received_at", Double, nullable=False),
    Index(None, "study_id", "sop_instance_uid"),
)

# The same SOP Instance UID with other bytes: kept, never indexed, never served, flagged.
conflicts = Table(
    "conflicts",
    metadata,
    _id(),
    Column("study_id", ForeignKey("studies.id"), nullable=False, index=True),
    Column("site_id", ForeignKey("sites.id"), nullable=False),
    Column("sop_instance_uid", _text(64), nullable=False),
    Column("sha256", _text(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("received_at", Double, nullable=False),
    UniqueConstraint("sop_instance_uid", "sha256"),
)

# --- cases, results, jobs -------------------------------------------------------------------------

_PLACE = ("class_rank", "fair_due_at", "arrived_at", "id")

cases = Table(
    "cases",
    metadata,
    # Random, so that an address tells nothing.
    Column("id", _text(32), primary_key=True),
    Column("study_id", ForeignKey("studies.id"), nullable=False, unique=True),
    Column("site_id", ForeignKey("sites.id"), nullable=False),
    Column("ai_state", _text(16), nullable=False),
    Column("reading_state", _text(16), nullable=False),
    Column("ordered_class", _text(16), nullable=False),
    # As ordered, raised by a finding, or backlog where a routine case is old; the AI lowers none.
    Column("urgency_class", _text(16), nullable=False),
    # Position of the class on the list, 0 first; stored so that the list is one index scan.
    Column("class_rank", Integer, nullable=False),
    # Acknowledgement of the first image.
    Column("arrived_at", Double, nullable=False),
    # By class and tier; anew when the class changes.
    Column("due_at", Double, nullable=False),
    # By how much it came too early for its hospital's allowance; fixed when it arrives.
    Column("excess_min", Double, nullable=False, server_default=text("0")),
    # due_at and the excess: its place within the class.
    Column("fair_due_at", Double, nullable=False),
    Column("pool_id", ForeignKey("pools.id"), nullable=False),
    Column("key_id", ForeignKey("reading_keys.id"), nullable=False),
    # Who reads it, until when unless it is heard of again.
    Column("holder_id", ForeignKey("users.id")),
    Column("claimed_at", Double),
    Column("lease_until", Double),
    # Raised by every claim and its end; a write with an older one changes nothing.
    Column("fence", Integer, nullable=False, server_default=text("0")),
    # Why it stands where it stands: [{"code", "values"}], sentences are made when shown.
    Column("reasons", JSON, nullable=False),
    # Of the visible result, or why there is none: what a row shows (serving.worklist.summary).
    Column("summary", JSON, nullable=False),
    # Raised by every change; a page that holds an older one is stale.
    Column("version", Integer, nullable=False, server_default=text("1")),
    # Of the study, here so that a filtered list needs no join.
    Column("search", _text(600), nullable=False),
    _one_of("ai_state", "receiving", "waiting", "analysing", "scored", "not-analysed"),
    _one_of("reading_state", "unapplied", "routed", "claimed"),
    _one_of("ordered_class", *_ORDERED),
    _one_of("urgency_class", *_CLASSES),
    CheckConstraint("(reading_state = 'claimed') = (holder_id IS NOT NULL)", name="holder"),
    CheckConstraint("(holder_id IS NULL) = (lease_until IS NULL)", name="lease"),
    CheckConstraint("(holder_id IS NULL) = (claimed_at IS NULL)", name="claimed"),
    # The heads: the first case of a key and class is the first entry of its stretch.
    Index(
        "ix_cases_routed",
        "pool_id",
        "key_id",
        "class_rank",
        "fair_due_at",
        "arrived_at",
        "id",
        **_where(ROUTED),
    ),
    # As many as people are reading.
    Index("ix_cases_claimed", "pool_id", "lease_until", **_where(CLAIMED)),
    # With the search text, so that a search over all cases, or over those of one state, and its
    # counts touch nothing but an index.
    Index("ix_cases_order", *_PLACE, "search"),
    Index("ix_cases_site_order", "site_id", *_PLACE),
    Index("ix_cases_ai_state_order", "ai_state", *_PLACE, "search"),
    # A site's list of one state, and its counts, which touch nothing but this index.
    Index("ix_cases_site_ai_state_order", "site_id", "ai_state", *_PLACE),
)

# What was handed out, to whom and why: one row for each claim, in the order of the pool's versions.
decisions = Table(
    "decisions",
    metadata,
    _id(),
    Column("pool_id", ForeignKey("pools.id"), nullable=False),
    # Of the pool after it.
    Column("pool_version", BigInteger, nullable=False),
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    # Of serving.worklist.order; "chosen": the reader took this case, whoever was next.
    Column("rule", _text(16), nullable=False),
    Column("class_rank", Integer, nullable=False),
    Column("key_id", ForeignKey("reading_keys.id"), nullable=False),
    Column("fair_due_at", Double, nullable=False),
    Column("credit_before", Double, nullable=False),
    Column("credit_after", Double, nullable=False),
    # Who would have been next by class, where the token went before it.
    Column("passed_case_id", ForeignKey("cases.id")),
    # What the client called its request: sent again, it gets the same claim.
    Column("request_key", _text(100)),
    # Version of urgency.yaml.
    Column("rules", _text(16), nullable=False),
    Column("at", Double, nullable=False),
    _one_of("rule", "stat", "token", "class", "chosen"),
    UniqueConstraint("pool_id", "pool_version"),
    UniqueConstraint("case_id", "fence"),
    UniqueConstraint("user_id", "request_key"),
)

results = Table(
    "results",
    metadata,
    _id(),
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    Column("package_name", _text(64), nullable=False),
    Column("package_version", _text(32), nullable=False),
    Column("package_sha256", _text(64), nullable=False),
    Column("software_version", _text(32), nullable=False),
    # Over the SHA-256 of the analysed instances: what it is a result of.
    Column("input_sha256", _text(64), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("status", _text(16), nullable=False),
    # Codes of the verdict's reasons.
    Column("codes", JSON, nullable=False, server_default=text("'[]'")),
    Column("timings_s", JSON, nullable=False),
    Column("is_visible", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("superseded_at", Double),
    Index(None, "case_id", "created_at"),
    Index(
        "uq_results_visible",
        "case_id",
        unique=True,
        sqlite_where=text("is_visible"),
        postgresql_where=text("is_visible"),
    ),
)

result_files = Table(
    "result_files",
    metadata,
    Column("result_id", ForeignKey("results.id"), primary_key=True),
    # findings.json, sr.dcm, seg.dcm, key_images/1.png
    Column("name", _text(64), primary_key=True),
    Column("sha256", _text(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    _id(),
    Column("study_id", ForeignKey("studies.id"), nullable=False, index=True),
    Column("generation", Integer, nullable=False),
    Column("state", _text(16), nullable=False),
    # Taken first where smaller, then the older: the case's class_rank when it settled, which a
    # score of earlier images may have raised above the ordered class.
    Column("rank", Integer, nullable=False),
    Column("queued_at", Double, nullable=False),
    # Not taken earlier: something was wrong, and others go first.
    Column("not_before", Double, nullable=False, server_default=text("0")),
    # How often it was put back because something was wrong: the pause doubles with it.
    Column("pauses", Integer, nullable=False, server_default=text("0")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # Fencing: raised by every claim; a write with an older one changes nothing.
    Column("token", Integer, nullable=False, server_default=text("0")),
    Column("owner", _text(64)),
    Column("lease_until", Double),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("error", _text(200)),
    _one_of("state", "queued", "leased", "done", "overtaken", "quarantined"),
    Index(None, "state", "rank", "queued_at"),
    UniqueConstraint("study_id", "generation"),
    # A study has at most one job that has not ended.
    Index(
        "uq_jobs_open",
        "study_id",
        unique=True,
        sqlite_where=text("state IN ('queued', 'leased')"),
        postgresql_where=text("state IN ('queued', 'leased')"),
    ),
)

# Who takes jobs, and when it last said so: `/readyz` reads it.
workers = Table(
    "workers",
    metadata,
    # As in ``jobs.owner``.
    Column("owner", _text(64), primary_key=True),
    # inline, ray
    Column("engine", _text(16), nullable=False),
    Column("is_healthy", Boolean, nullable=False),
    Column("seen_at", Double, nullable=False),
)

# --- events ---------------------------------------------------------------------------------------

events = Table(
    "events",
    metadata,
    _id(),
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    Column("site_id", ForeignKey("sites.id"), nullable=False),
    # Of the case after the change.
    Column("version", Integer, nullable=False),
    # received, settled, analysing, scored, not-analysed, superseded, conflict, ...
    Column("kind", _text(32), nullable=False),
    Column("details", JSON, nullable=False),
    Column("at", Double, nullable=False),
    Index(None, "case_id", "id"),
    Index(None, "site_id", "id"),
    CheckConstraint("version > 0", name="version"),
    # Never an id twice, not even after the newest row is gone: pages resume by it.
    sqlite_autoincrement=True,
)
