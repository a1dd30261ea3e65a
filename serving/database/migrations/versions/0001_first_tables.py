"""The tables of the first version."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite numbers rows in a column of exactly its own type, which has 64 bits.
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(characters: int) -> TypeEngine[str]:
    """By code point on PostgreSQL, too, whatever the locale of its server."""
    return sa.String(characters).with_variant(sa.String(characters, collation="C"), "postgresql")


def upgrade() -> None:
    """Make the change; there is no way back but the copy that was made before."""
    op.create_table(
        "log_in_failures",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("subject", _text(64), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_in_failures")),
    )
    op.create_index(
        op.f("ix_log_in_failures_subject_at"), "log_in_failures", ["subject", "at"], unique=False
    )
    op.create_table(
        "pools",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("code", _text(32), nullable=False),
        sa.Column("name", _text(200), nullable=False),
        sa.Column("is_open", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("readers", sa.Double(), nullable=False),
        sa.Column("reading_minutes", sa.Double(), nullable=False),
        sa.Column("credit", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.CheckConstraint("readers > 0 AND reading_minutes > 0", name=op.f("ck_pools_capacity")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pools")),
        sa.UniqueConstraint("code", name=op.f("uq_pools_code")),
    )
    op.create_table(
        "reading_keys",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("modality", _text(16), nullable=False),
        sa.Column("body_part", _text(32), nullable=False),
        sa.Column("age_group", _text(16), nullable=False),
        sa.Column("special", _text(32), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reading_keys")),
        sa.UniqueConstraint(
            "modality",
            "body_part",
            "age_group",
            "special",
            name=op.f("uq_reading_keys_modality_body_part_age_group_special"),
        ),
    )
    op.create_table(
        "workers",
        sa.Column("owner", _text(64), nullable=False),
        sa.Column("engine", _text(16), nullable=False),
        sa.Column("is_healthy", sa.Boolean(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_workers")),
    )
    op.create_table(
        "sites",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("code", _text(32), nullable=False),
        sa.Column("name", _text(200), nullable=False),
        sa.Column("ordered_class", _text(16), server_default="routine", nullable=False),
        sa.Column("application", _text(16), server_default="on_arrival", nullable=False),
        sa.Column("tier", _text(32), server_default="standard", nullable=False),
        sa.Column("pool_id", _NUMBER, nullable=True),
        sa.Column("contract_per_day", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.CheckConstraint("contract_per_day >= 0", name=op.f("ck_sites_contract")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_sites_pool_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sites")),
        sa.UniqueConstraint("code", name=op.f("uq_sites_code")),
    )
    op.create_table(
        "allowances",
        sa.Column("pool_id", _NUMBER, nullable=False),
        sa.Column("site_id", _NUMBER, nullable=False),
        sa.Column("tat_min", sa.Double(), nullable=False),
        sa.Column("charged_min", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_allowances_pool_id")),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_allowances_site_id")),
        sa.PrimaryKeyConstraint("pool_id", "site_id", name=op.f("pk_allowances")),
    )
    op.create_table(
        "site_days",
        sa.Column("pool_id", _NUMBER, nullable=False),
        sa.Column("site_id", _NUMBER, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("cases", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_site_days_pool_id")),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_site_days_site_id")),
        sa.PrimaryKeyConstraint("pool_id", "site_id", "day", name=op.f("pk_site_days")),
    )
    op.create_table(
        "studies",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("study_uid", _text(64), nullable=False),
        sa.Column("site_id", _NUMBER, nullable=False),
        sa.Column("generation", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("image_received_at", sa.Double(), nullable=True),
        sa.Column("patient_name", _text(400), nullable=False),
        sa.Column("patient_id", _text(200), nullable=False),
        sa.Column("birth_date", _text(8), nullable=False),
        sa.Column("sex", _text(16), nullable=False),
        sa.Column("study_date", _text(8), nullable=False),
        sa.Column("study_time", _text(16), nullable=False),
        sa.Column("accession_number", _text(200), nullable=False),
        sa.Column("description", _text(400), nullable=False),
        sa.Column("referring_physician", _text(400), server_default="", nullable=False),
        sa.Column("study_number", _text(64), server_default="", nullable=False),
        sa.Column("codecs", sa.JSON(), nullable=False),
        sa.Column("texts_as_sent", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("charset_votes", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("search", _text(600), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_studies_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.UniqueConstraint("study_uid", name=op.f("uq_studies_study_uid")),
    )
    op.create_index(op.f("ix_studies_site_id"), "studies", ["site_id"], unique=False)
    op.create_index(op.f("ix_studies_study_date"), "studies", ["study_date"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("site_id", _NUMBER, nullable=False),
        sa.Column("label", _text(100), nullable=False),
        sa.Column("sha256", _text(64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("used_at", sa.Double(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_tokens_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("sha256", name=op.f("uq_tokens_sha256")),
    )
    op.create_table(
        "users",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("name", _text(64), nullable=False),
        sa.Column("password_hash", _text(200), nullable=False),
        sa.Column("role", _text(16), nullable=False),
        sa.Column("site_id", _NUMBER, nullable=True),
        sa.Column("language", _text(8), nullable=True),
        sa.Column("theme", _text(8), nullable=True),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("is_demonstration", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "role IN ('sender', 'reader', 'researcher', 'mlops', 'admin')",
            name=op.f("ck_users_role"),
        ),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_users_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
    )
    op.create_table(
        "cases",
        sa.Column("id", _text(32), nullable=False),
        sa.Column("study_id", _NUMBER, nullable=False),
        sa.Column("site_id", _NUMBER, nullable=False),
        sa.Column("ai_state", _text(16), nullable=False),
        sa.Column("reading_state", _text(16), nullable=False),
        sa.Column("ordered_class", _text(16), nullable=False),
        sa.Column("urgency_class", _text(16), nullable=False),
        sa.Column("class_rank", sa.Integer(), nullable=False),
        sa.Column("arrived_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("excess_min", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("fair_due_at", sa.Double(), nullable=False),
        sa.Column("pool_id", _NUMBER, nullable=False),
        sa.Column("key_id", _NUMBER, nullable=False),
        sa.Column("holder_id", _NUMBER, nullable=True),
        sa.Column("claimed_at", sa.Double(), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("fence", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("search", _text(600), nullable=False),
        sa.CheckConstraint(
            "(reading_state = 'claimed') = (holder_id IS NOT NULL)", name=op.f("ck_cases_holder")
        ),
        sa.CheckConstraint(
            "ai_state IN ('receiving', 'waiting', 'analysing', 'scored', 'not-analysed')",
            name=op.f("ck_cases_ai_state"),
        ),
        sa.CheckConstraint(
            "ordered_class IN ('stat', 'urgent', 'routine', 'backlog')",
            name=op.f("ck_cases_ordered_class"),
        ),
        sa.CheckConstraint(
            "reading_state IN ('unapplied', 'routed', 'claimed')",
            name=op.f("ck_cases_reading_state"),
        ),
        sa.CheckConstraint(
            "urgency_class IN ('stat', 'urgent', 'routine', 'backlog', 'ai-critical')",
            name=op.f("ck_cases_urgency_class"),
        ),
        sa.CheckConstraint(
            "(holder_id IS NULL) = (claimed_at IS NULL)", name=op.f("ck_cases_claimed")
        ),
        sa.CheckConstraint(
            "(holder_id IS NULL) = (lease_until IS NULL)", name=op.f("ck_cases_lease")
        ),
        sa.ForeignKeyConstraint(["holder_id"], ["users.id"], name=op.f("fk_cases_holder_id")),
        sa.ForeignKeyConstraint(["key_id"], ["reading_keys.id"], name=op.f("fk_cases_key_id")),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_cases_pool_id")),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_cases_site_id")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_cases_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cases")),
        sa.UniqueConstraint("study_id", name=op.f("uq_cases_study_id")),
    )
    op.create_index(
        "ix_cases_ai_state_order",
        "cases",
        ["ai_state", "class_rank", "fair_due_at", "arrived_at", "id", "search"],
        unique=False,
    )
    op.create_index(
        "ix_cases_claimed",
        "cases",
        ["pool_id", "lease_until"],
        unique=False,
        sqlite_where=sa.text("reading_state = 'claimed'"),
        postgresql_where=sa.text("reading_state = 'claimed'"),
    )
    op.create_index(
        "ix_cases_order",
        "cases",
        ["class_rank", "fair_due_at", "arrived_at", "id", "search"],
        unique=False,
    )
    op.create_index(
        "ix_cases_routed",
        "cases",
        ["pool_id", "key_id", "class_rank", "fair_due_at", "arrived_at", "id"],
        unique=False,
        sqlite_where=sa.text("reading_state = 'routed'"),
        postgresql_where=sa.text("reading_state = 'routed'"),
    )
    op.create_index(
        "ix_cases_site_ai_state_order",
        "cases",
        ["site_id", "ai_state", "class_rank", "fair_due_at", "arrived_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_cases_site_order",
        "cases",
        ["site_id", "class_rank", "fair_due_at", "arrived_at", "id"],
        unique=False,
    )
    op.create_table(
        "conflicts",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("study_id", _NUMBER, nullable=False),
        sa.Column("site_id", _NUMBER, nullable=False),
        sa.Column("sop_instance_uid", _text(64), nullable=False),
        sa.Column("sha256", _text(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_conflicts_site_id")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_conflicts_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conflicts")),
        sa.UniqueConstraint(
            "sop_instance_uid", "sha256", name=op.f("uq_conflicts_sop_instance_uid_sha256")
        ),
    )
    op.create_index(op.f("ix_conflicts_study_id"), "conflicts", ["study_id"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("study_id", _NUMBER, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("state", _text(16), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("queued_at", sa.Double(), nullable=False),
        sa.Column("not_before", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("pauses", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("token", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("owner", _text(64), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("error", _text(200), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'leased', 'done', 'overtaken', 'quarantined')",
            name=op.f("ck_jobs_state"),
        ),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_jobs_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("study_id", "generation", name=op.f("uq_jobs_study_id_generation")),
    )
    op.create_index(
        op.f("ix_jobs_state_rank_queued_at"), "jobs", ["state", "rank", "queued_at"], unique=False
    )
    op.create_index(op.f("ix_jobs_study_id"), "jobs", ["study_id"], unique=False)
    op.create_index(
        "uq_jobs_open",
        "jobs",
        ["study_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('queued', 'leased')"),
        postgresql_where=sa.text("state IN ('queued', 'leased')"),
    )
    op.create_table(
        "reader_keys",
        sa.Column("user_id", _NUMBER, nullable=False),
        sa.Column("pool_id", _NUMBER, nullable=False),
        sa.Column("key_id", _NUMBER, nullable=False),
        sa.ForeignKeyConstraint(
            ["key_id"], ["reading_keys.id"], name=op.f("fk_reader_keys_key_id")
        ),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_reader_keys_pool_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_reader_keys_user_id")),
        sa.PrimaryKeyConstraint("user_id", "pool_id", "key_id", name=op.f("pk_reader_keys")),
    )
    op.create_table(
        "series",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("study_id", _NUMBER, nullable=False),
        sa.Column("series_uid", _text(64), nullable=False),
        sa.Column("modality", _text(16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("description", _text(400), nullable=False),
        sa.Column("body_part", _text(64), nullable=False),
        sa.Column("texts_as_sent", sa.JSON(), server_default="{}", nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_series_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_series")),
        sa.UniqueConstraint("study_id", "series_uid", name=op.f("uq_series_study_id_series_uid")),
    )
    op.create_index(op.f("ix_series_study_id"), "series", ["study_id"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("sha256", _text(64), nullable=False),
        sa.Column("user_id", _NUMBER, nullable=False),
        sa.Column("csrf_token", _text(64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id")),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"], unique=False)
    op.create_table(
        "decisions",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("pool_id", _NUMBER, nullable=False),
        sa.Column("pool_version", sa.BigInteger(), nullable=False),
        sa.Column("case_id", _text(32), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("user_id", _NUMBER, nullable=False),
        sa.Column("rule", _text(16), nullable=False),
        sa.Column("class_rank", sa.Integer(), nullable=False),
        sa.Column("key_id", _NUMBER, nullable=False),
        sa.Column("fair_due_at", sa.Double(), nullable=False),
        sa.Column("credit_before", sa.Double(), nullable=False),
        sa.Column("credit_after", sa.Double(), nullable=False),
        sa.Column("passed_case_id", _text(32), nullable=True),
        sa.Column("request_key", _text(100), nullable=True),
        sa.Column("rules", _text(16), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.CheckConstraint(
            "rule IN ('stat', 'token', 'class', 'chosen')", name=op.f("ck_decisions_rule")
        ),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_decisions_case_id")),
        sa.ForeignKeyConstraint(["key_id"], ["reading_keys.id"], name=op.f("fk_decisions_key_id")),
        sa.ForeignKeyConstraint(
            ["passed_case_id"], ["cases.id"], name=op.f("fk_decisions_passed_case_id")
        ),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=op.f("fk_decisions_pool_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_decisions_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
        sa.UniqueConstraint("case_id", "fence", name=op.f("uq_decisions_case_id_fence")),
        sa.UniqueConstraint(
            "pool_id", "pool_version", name=op.f("uq_decisions_pool_id_pool_version")
        ),
        sa.UniqueConstraint(
            "user_id", "request_key", name=op.f("uq_decisions_user_id_request_key")
        ),
    )
    op.create_table(
        "events",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("case_id", _text(32), nullable=False),
        sa.Column("site_id", _NUMBER, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", _text(32), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.CheckConstraint("version > 0", name=op.f("ck_events_version")),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_events_case_id")),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_events_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_events_case_id_id"), "events", ["case_id", "id"], unique=False)
    op.create_index(op.f("ix_events_site_id_id"), "events", ["site_id", "id"], unique=False)
    op.create_table(
        "results",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("case_id", _text(32), nullable=False),
        sa.Column("package_name", _text(64), nullable=False),
        sa.Column("package_version", _text(32), nullable=False),
        sa.Column("package_sha256", _text(64), nullable=False),
        sa.Column("software_version", _text(32), nullable=False),
        sa.Column("input_sha256", _text(64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("status", _text(16), nullable=False),
        sa.Column("codes", sa.JSON(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("timings_s", sa.JSON(), nullable=False),
        sa.Column("is_visible", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("superseded_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_results_case_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_results")),
    )
    op.create_index(
        op.f("ix_results_case_id_created_at"), "results", ["case_id", "created_at"], unique=False
    )
    op.create_index(
        "uq_results_visible",
        "results",
        ["case_id"],
        unique=True,
        sqlite_where=sa.text("is_visible"),
        postgresql_where=sa.text("is_visible"),
    )
    op.create_table(
        "views",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("user_id", _NUMBER, nullable=True),
        sa.Column("token_id", _NUMBER, nullable=True),
        sa.Column("case_id", _text(32), nullable=False),
        sa.Column("what", _text(64), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.CheckConstraint("(user_id IS NULL) <> (token_id IS NULL)", name=op.f("ck_views_looker")),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name=op.f("fk_views_case_id")),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.id"], name=op.f("fk_views_token_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_views_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_views")),
    )
    op.create_index(op.f("ix_views_case_id_at"), "views", ["case_id", "at"], unique=False)
    op.create_table(
        "instances",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("study_id", _NUMBER, nullable=False),
        sa.Column("series_id", _NUMBER, nullable=False),
        sa.Column("sop_instance_uid", _text(64), nullable=False),
        sa.Column("sop_class_uid", _text(64), nullable=False),
        sa.Column("transfer_syntax_uid", _text(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("rows", sa.Integer(), nullable=True),
        sa.Column("columns", sa.Integer(), nullable=True),
        sa.Column("frames", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("sha256", _text(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("is_source", sa.Boolean(), nullable=False),
        sa.Column("result_id", _NUMBER, nullable=True),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["result_id"], ["results.id"], name=op.f("fk_instances_result_id")),
        sa.ForeignKeyConstraint(["series_id"], ["series.id"], name=op.f("fk_instances_series_id")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_instances_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
        sa.UniqueConstraint("sop_instance_uid", name=op.f("uq_instances_sop_instance_uid")),
    )
    op.create_index(op.f("ix_instances_series_id"), "instances", ["series_id"], unique=False)
    op.create_index(
        op.f("ix_instances_study_id_sop_instance_uid"),
        "instances",
        ["study_id", "sop_instance_uid"],
        unique=False,
    )
    op.create_table(
        "result_files",
        sa.Column("result_id", _NUMBER, nullable=False),
        sa.Column("name", _text(64), nullable=False),
        sa.Column("sha256", _text(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["result_id"], ["results.id"], name=op.f("fk_result_files_result_id")
        ),
        sa.PrimaryKeyConstraint("result_id", "name", name=op.f("pk_result_files")),
    )
