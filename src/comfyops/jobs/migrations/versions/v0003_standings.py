"""Jobs of an owner by how they stand, without a look at each that ever was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    over = sa.text("state IN ('done', 'failed', 'cancelled', 'expired')")
    active = sa.text("state IN ('bound', 'running', 'storing')")
    op.create_index("ix_jobs_over", "jobs", ["owner", "state"], sqlite_where=over, postgresql_where=over)
    op.create_index("ix_jobs_active_owner", "jobs", ["owner"], sqlite_where=active, postgresql_where=active)
