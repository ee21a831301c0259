"""What Alembic runs: the steps go through the connection, and inside the transaction, of the caller."""

from alembic import context

from comfyops.jobs.migrations import TABLE
from comfyops.jobs.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=TABLE,
    transactional_ddl=False,
)
context.run_migrations()
