"""The first schema of durable jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "assets",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("mime", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("used_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_assets")),
    )
    op.create_index(op.f("ix_assets_sha256"), "assets", ["sha256"], unique=False)
    op.create_table(
        "backends",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("dispatcher", sa.String(), nullable=True),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("offer", sa.Text(), nullable=False),
        sa.Column("offer_key", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("loaded", sa.String(), nullable=False),
        sa.Column("loaded_since", sa.Float(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_seen", sa.Float(), nullable=True),
        sa.Column("probe_at", sa.Float(), nullable=False),
        sa.Column("added_at", sa.Float(), nullable=False),
        sa.CheckConstraint(
            "state IN ('new', 'up', 'drained', 'paused', 'quarantined', 'down')", name=op.f("ck_backends_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_backends")),
        sa.UniqueConstraint("url", name=op.f("uq_backends_url")),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_table(
        "dispatchers",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("incarnation", sa.String(), nullable=False),
        sa.Column("beat", sa.Float(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_dispatchers")),
    )
    op.create_table(
        "idempotency",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("request_hash", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=True),
        sa.Column("batch", sa.String(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name=op.f("pk_idempotency")),
    )
    op.create_table(
        "needs",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("model_set", sa.String(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_needs")),
    )
    op.create_table(
        "quotas",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("max_running", sa.Integer(), nullable=True),
        sa.Column("max_waiting", sa.Integer(), nullable=True),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.CheckConstraint("weight > 0", name=op.f("ck_quotas_weight")),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_quotas")),
    )
    op.create_table(
        "schedules",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("cron", sa.String(), nullable=False),
        sa.Column("timezone", sa.String(), nullable=False),
        sa.Column("misfire", sa.String(), nullable=False),
        sa.Column("submission", sa.Text(), nullable=False),
        sa.Column("next_at", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=True),
        sa.Column("last_job", sa.String(), nullable=True),
        sa.Column("paused", sa.Integer(), nullable=False),
        sa.CheckConstraint("misfire IN ('once', 'skip')", name=op.f("ck_schedules_misfire")),
        sa.CheckConstraint("paused IN (0, 1)", name=op.f("ck_schedules_paused")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_schedules")),
    )
    op.create_table(
        "settings",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_settings")),
    )
    op.create_table(
        "timings",
        sa.Column("needs_key", sa.String(), nullable=False),
        sa.Column("warm", sa.Float(), nullable=False),
        sa.Column("cold", sa.Float(), nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("needs_key", name=op.f("pk_timings")),
    )
    op.create_table(
        "asset_names",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("mime", sa.String(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["hash"], ["assets.hash"], name=op.f("fk_asset_names_hash")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_asset_names")),
    )
    op.create_index(op.f("ix_asset_names_hash"), "asset_names", ["hash"], unique=False)
    op.create_index("ix_asset_names_owner", "asset_names", ["owner", "created_at"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("batch", sa.String(), nullable=True),
        sa.Column("schedule", sa.String(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("not_before", sa.Float(), nullable=False),
        sa.Column("deadline", sa.Float(), nullable=True),
        sa.Column("bound_at", sa.Float(), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=True),
        sa.Column("finished_at", sa.Float(), nullable=True),
        sa.Column("needs_key", sa.String(), nullable=False),
        sa.Column("blockers", sa.Integer(), nullable=False),
        sa.Column("backend", sa.String(), nullable=True),
        sa.Column("avoid", sa.String(), nullable=False),
        sa.Column("runner", sa.String(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("prompt_id", sa.String(), nullable=True),
        sa.Column("cancel_requested", sa.Float(), nullable=True),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("webhook_url", sa.String(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("progress", sa.Text(), nullable=True),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.Column("outputs_count", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(state IN ('bound', 'running', 'storing')) = (backend IS NOT NULL AND runner IS NOT NULL)",
            name=op.f("ck_jobs_active_has_backend"),
        ),
        sa.CheckConstraint(
            "(state IN ('done', 'failed', 'cancelled', 'expired')) = (finished_at IS NOT NULL)",
            name=op.f("ck_jobs_over"),
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'bound', 'running', 'storing', 'done', 'failed', 'cancelled', 'expired')",
            name=op.f("ck_jobs_state"),
        ),
        sa.CheckConstraint("blockers >= 0", name=op.f("ck_jobs_blockers")),
        sa.ForeignKeyConstraint(["needs_key"], ["needs.key"], name=op.f("fk_jobs_needs_key")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_jobs")),
        sa.UniqueConstraint("id", name=op.f("uq_jobs_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_jobs_active",
        "jobs",
        ["runner"],
        unique=False,
        sqlite_where=sa.text("state IN ('bound', 'running', 'storing')"),
        postgresql_where=sa.text("state IN ('bound', 'running', 'storing')"),
    )
    op.create_index("ix_jobs_batch", "jobs", ["batch"], unique=False)
    op.create_index("ix_jobs_finished", "jobs", ["finished_at"], unique=False)
    op.create_index(
        "ix_jobs_one_active_per_backend",
        "jobs",
        ["backend"],
        unique=True,
        sqlite_where=sa.text("state IN ('bound', 'running', 'storing')"),
        postgresql_where=sa.text("state IN ('bound', 'running', 'storing')"),
    )
    op.create_index("ix_jobs_owner_number", "jobs", ["owner", "number"], unique=False)
    op.create_index(
        "ix_jobs_waiting",
        "jobs",
        ["owner", "priority", "needs_key", "number", "blockers", "not_before", "created_at"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "uploads",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("folder_type", sa.String(), nullable=False),
        sa.Column("subfolder", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["hash"], ["assets.hash"], name=op.f("fk_uploads_hash")),
        sa.PrimaryKeyConstraint("owner", "folder_type", "subfolder", "name", name=op.f("pk_uploads")),
    )
    op.create_index(op.f("ix_uploads_hash"), "uploads", ["hash"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("backend", sa.String(), nullable=False),
        sa.Column("prompt_id", sa.String(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("signature", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_attempts_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "number", name=op.f("pk_attempts")),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Float(), nullable=False),
        sa.Column("taken_until", sa.Float(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name=op.f("ck_deliveries_state")),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_deliveries_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index(op.f("ix_deliveries_job"), "deliveries", ["job"], unique=False)
    op.create_index(
        "ix_deliveries_waiting",
        "deliveries",
        ["next_at"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "dependencies",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("needs", sa.String(), nullable=False),
        sa.Column("settled", sa.Integer(), nullable=False),
        sa.CheckConstraint("settled IN (0, 1)", name=op.f("ck_dependencies_settled")),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_dependencies_job"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["needs"], ["jobs.id"], name=op.f("fk_dependencies_needs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "needs", name=op.f("pk_dependencies")),
    )
    op.create_index(op.f("ix_dependencies_needs"), "dependencies", ["needs"], unique=False)
    op.create_table(
        "job_events",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_job_events_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "seq", name=op.f("pk_job_events")),
    )
    op.create_table(
        "outputs",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("index", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("filename", sa.String(), nullable=False),
        sa.Column("subfolder", sa.String(), nullable=False),
        sa.Column("folder_type", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=True),
        sa.Column("size", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("mime", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["hash"], ["assets.hash"], name=op.f("fk_outputs_hash")),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_outputs_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "index", name=op.f("pk_outputs")),
        sa.UniqueConstraint("id", name=op.f("uq_outputs_id")),
    )
    op.create_index(op.f("ix_outputs_hash"), "outputs", ["hash"], unique=False)
    op.create_table(
        "placements",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("backend", sa.String(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_placements_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_placements")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_placements_job"), "placements", ["job"], unique=False)
    op.create_table(
        "requests",
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("graph", sa.Text(), nullable=False),
        sa.Column("extra_data", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_requests_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_requests")),
    )
