"""The tables of durable jobs, for SQLite and PostgreSQL alike. Times are seconds since the epoch, documents are JSON.

The rules of the queue stand here as constraints: what must never be is refused by the database itself. The steps of
`migrations/versions` make the same tables; a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    literal_column,
    text,
)

from comfyops.jobs.job import ACTIVE, OVER, JobState

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_BIG = BigInteger().with_variant(Integer, "sqlite")


def _one_of(*values: str) -> str:
    return "(" + ", ".join(f"'{value}'" for value in values) + ")"


_IS_ACTIVE = f"state IN {_one_of(*ACTIVE)}"


def _job(**options: bool) -> Column[str]:
    return Column("job", String, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, **options)  # type: ignore[arg-type]


jobs = Table(
    "jobs",
    metadata,
    Column("number", _BIG, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("owner", String, nullable=False),
    Column("state", String, nullable=False),
    Column("name", String, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("tags", Text, nullable=False),
    Column("batch", String),
    Column("schedule", String),
    Column("created_at", Float, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("deadline", Float),
    Column("bound_at", Float),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("needs_key", String, ForeignKey("needs.key"), nullable=False),
    Column("blockers", Integer, nullable=False),
    Column("backend", String),
    Column("avoid", String, nullable=False),
    Column("runner", String),
    Column("attempt", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("prompt_id", String),
    Column("cancel_requested", Float),
    Column("client_id", String, nullable=False),
    Column("webhook_url", String, nullable=False),
    Column("error", Text),
    Column("progress", Text),
    Column("last_seq", Integer, nullable=False),
    Column("outputs_count", Integer, nullable=False),
    CheckConstraint(f"state IN {_one_of(*JobState)}", name="state"),
    CheckConstraint("blockers >= 0", name="blockers"),
    CheckConstraint(f"({_IS_ACTIVE}) = (backend IS NOT NULL AND runner IS NOT NULL)", name="active_has_backend"),
    CheckConstraint("(state IN ('done', 'failed', 'cancelled', 'expired')) = (finished_at IS NOT NULL)", name="over"),
    sqlite_autoincrement=True,
)
Index("ix_jobs_one_active_per_backend", jobs.c.backend, unique=True, sqlite_where=text(_IS_ACTIVE),
      postgresql_where=text(_IS_ACTIVE))  # fmt: skip
Index(
    "ix_jobs_waiting",
    *(jobs.c[name] for name in ("owner", "priority", "needs_key", "number", "blockers", "not_before", "created_at")),
    sqlite_where=text("state = 'waiting'"),
    postgresql_where=text("state = 'waiting'"),
)
Index("ix_jobs_active", jobs.c.runner, sqlite_where=text(_IS_ACTIVE), postgresql_where=text(_IS_ACTIVE))
Index("ix_jobs_active_owner", jobs.c.owner, sqlite_where=text(_IS_ACTIVE), postgresql_where=text(_IS_ACTIVE))
Index("ix_jobs_owner_number", jobs.c.owner, jobs.c.number)
_IS_OVER = f"state IN {_one_of(*OVER)}"
Index("ix_jobs_over", jobs.c.owner, jobs.c.state, sqlite_where=text(_IS_OVER), postgresql_where=text(_IS_OVER))
Index("ix_jobs_batch", jobs.c.batch)
Index("ix_jobs_finished", jobs.c.finished_at)


def is_one_of(states: Iterable[JobState]) -> ColumnElement[bool]:
    """Written out: SQLite takes an index of a part of the jobs only where it reads these words in the statement."""
    words: list[ColumnElement[str]] = [literal_column(f"'{state}'") for state in states]
    return jobs.c.state == words[0] if len(words) == 1 else jobs.c.state.in_(words)


IS_WAITING = is_one_of((JobState.WAITING,))
IS_ACTIVE = is_one_of(ACTIVE)
IS_OVER = is_one_of(OVER)

requests = Table(
    "requests",
    metadata,
    _job(primary_key=True),
    Column("graph", Text, nullable=False),
    Column("extra_data", Text, nullable=False),
)

needs = Table(
    "needs",
    metadata,
    Column("key", String, primary_key=True),
    Column("model_set", String, nullable=False),
    Column("document", Text, nullable=False),
)

events = Table(
    "job_events",
    metadata,
    _job(primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("type", String, nullable=False),
    Column("data", Text, nullable=False),
    Column("at", Float, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    _job(primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("backend", String, nullable=False),
    Column("prompt_id", String, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("outcome", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("signature", String, nullable=False),
)

dependencies = Table(
    "dependencies",
    metadata,
    _job(primary_key=True),
    Column("needs", String, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, index=True),
    Column("settled", Integer, nullable=False),
    CheckConstraint("settled IN (0, 1)", name="settled"),
)

assets = Table(
    "assets",
    metadata,
    Column("hash", String, primary_key=True),
    Column("sha256", String, nullable=False, index=True),
    Column("size", _BIG, nullable=False),
    Column("mime", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("used_at", Float, nullable=False),
)

asset_names = Table(
    "asset_names",
    metadata,
    Column("id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("hash", String, ForeignKey("assets.hash"), nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("mime", String, nullable=False),
    Column("tags", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)
Index("ix_asset_names_owner", asset_names.c.owner, asset_names.c.created_at)

outputs = Table(
    "outputs",
    metadata,
    _job(primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("node", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("filename", String, nullable=False),
    Column("subfolder", String, nullable=False),
    Column("folder_type", String, nullable=False),
    Column("hash", String, ForeignKey("assets.hash"), index=True),
    Column("size", _BIG, nullable=False),
    Column("mime", String, nullable=False),
    Column("text", Text, nullable=False),
)

uploads = Table(
    "uploads",
    metadata,
    Column("owner", String, primary_key=True),
    Column("folder_type", String, primary_key=True),
    Column("subfolder", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("hash", String, ForeignKey("assets.hash"), nullable=False, index=True),
    Column("created_at", Float, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("request_hash", String, nullable=False),
    Column("job", String),
    Column("batch", String),
    Column("created_at", Float, nullable=False),
)

batches = Table(
    "batches",
    metadata,
    Column("id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("name", String, nullable=False),
    Column("jobs", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
)

schedules = Table(
    "schedules",
    metadata,
    Column("name", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("cron", String, nullable=False),
    Column("timezone", String, nullable=False),
    Column("misfire", String, nullable=False),
    Column("submission", Text, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("last_at", Float),
    Column("last_job", String),
    Column("paused", Integer, nullable=False),
    CheckConstraint("misfire IN ('once', 'skip')", name="misfire"),
    CheckConstraint("paused IN (0, 1)", name="paused"),
)

quotas = Table(
    "quotas",
    metadata,
    Column("owner", String, primary_key=True),
    Column("max_running", Integer),
    Column("max_waiting", Integer),
    Column("weight", Float, nullable=False),
    CheckConstraint("weight > 0", name="weight"),
)

backends = Table(
    "backends",
    metadata,
    Column("id", String, primary_key=True),
    Column("url", String, nullable=False, unique=True),
    Column("token", String, nullable=False),
    Column("tags", Text, nullable=False),
    Column("state", String, nullable=False),
    CheckConstraint("state IN ('new', 'up', 'drained', 'paused', 'quarantined', 'down')", name="state"),
    Column("reason", Text, nullable=False),
    Column("dispatcher", String),
    Column("lease_until", Float, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("offer", Text, nullable=False),
    Column("offer_key", String, nullable=False),
    Column("version", String, nullable=False),
    Column("loaded", String, nullable=False),
    Column("loaded_since", Float, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("last_seen", Float),
    Column("probe_at", Float, nullable=False),
    Column("added_at", Float, nullable=False),
)

dispatchers = Table(
    "dispatchers",
    metadata,
    Column("name", String, primary_key=True),
    Column("incarnation", String, nullable=False),
    Column("beat", Float, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("version", String, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String, primary_key=True),
    _job(index=True),
    Column("url", String, nullable=False),
    Column("type", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String, nullable=False),
    CheckConstraint("state IN ('waiting', 'delivered', 'failed')", name="state"),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("taken_until", Float, nullable=False),
    Column("status", Integer),
    Column("reason", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)
Index("ix_deliveries_waiting", deliveries.c.next_at, sqlite_where=text("state = 'waiting'"),
      postgresql_where=text("state = 'waiting'"))  # fmt: skip

exports = Table(
    "exports",
    metadata,
    _job(primary_key=True),
    Column("destination", String, nullable=False),
    Column("state", String, nullable=False),
    CheckConstraint("state IN ('waiting', 'done', 'failed')", name="state"),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("taken_until", Float, nullable=False),
    Column("sent", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)
Index("ix_exports_waiting", exports.c.next_at, sqlite_where=text("state = 'waiting'"),
      postgresql_where=text("state = 'waiting'"))  # fmt: skip

placements = Table(
    "placements",
    metadata,
    Column("id", _BIG, primary_key=True, autoincrement=True),
    _job(index=True),
    Column("at", Float, nullable=False),
    Column("backend", String),
    Column("reason", Text, nullable=False),
    sqlite_autoincrement=True,
)

timings = Table(
    "timings",
    metadata,
    Column("needs_key", String, primary_key=True),
    Column("warm", Float, nullable=False),
    Column("cold", Float, nullable=False),
    Column("runs", Integer, nullable=False),
)

settings = Table(
    "settings",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", Text, nullable=False),
)
