"""Members by device: how often a device took part is counted at each of its check-ins."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add an index."""
    op.create_index(op.f("ix_members_device"), "members", ["device"], unique=False)
