"""The tables of the first version."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "invites",
        sa.Column("id", sa.LargeBinary(length=32), nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.Column("requests_a_minute", sa.Integer(), nullable=False),
        sa.CheckConstraint("used <= uses", name=op.f("ck_invites_used")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invites")),
    )
    op.create_table(
        "leaves",
        sa.Column("place", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_leaves")),
    )
    op.create_table(
        "log",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("checkpoint", sa.String(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_log_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log")),
    )
    op.create_table(
        "tasks",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("promotes", sa.Boolean(), nullable=False),
        sa.Column("in_use", sa.BigInteger(), nullable=False),
        sa.Column("promotion", sa.BigInteger(), nullable=True),
        sa.Column("next_round", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tasks")),
        sa.UniqueConstraint("name", name=op.f("uq_tasks_name")),
    )
    op.create_table(
        "devices",
        sa.Column("identity", sa.LargeBinary(length=32), nullable=False),
        sa.Column("invite", sa.LargeBinary(length=32), nullable=False),
        sa.Column("proof", sa.LargeBinary(length=32), nullable=False),
        sa.Column("asked", sa.Double(), nullable=False),
        sa.Column("certificate", sa.LargeBinary(length=64), nullable=True),
        sa.Column("refused", sa.String(length=200), nullable=True),
        sa.Column("revoked", sa.Double(), nullable=True),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("requests_a_minute", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["invite"], ["invites.id"], name=op.f("fk_devices_invite")),
        sa.PrimaryKeyConstraint("identity", name=op.f("pk_devices")),
    )
    op.create_index(op.f("ix_devices_invite"), "devices", ["invite"], unique=False)
    op.create_table(
        "releases",
        sa.Column("task", sa.LargeBinary(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("moments", sa.LargeBinary(length=32), nullable=True),
        sa.ForeignKeyConstraint(["task"], ["tasks.digest"], name=op.f("fk_releases_task")),
        sa.PrimaryKeyConstraint("task", "number", name=op.f("pk_releases")),
        sa.UniqueConstraint("digest", name=op.f("uq_releases_digest")),
    )
    op.create_table(
        "rounds",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("task", sa.LargeBinary(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(length=32), nullable=False),
        sa.Column("release", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("deadline", sa.Double(), nullable=False),
        sa.Column("begun", sa.Double(), nullable=False),
        sa.Column("ended", sa.Double(), nullable=True),
        sa.Column("outcome", sa.String(length=300), nullable=False),
        sa.Column("leased", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["task"], ["tasks.digest"], name=op.f("fk_rounds_task")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rounds")),
        sa.UniqueConstraint("task", "number", name=op.f("uq_rounds_task_number")),
    )
    op.create_index(op.f("ix_rounds_step_deadline"), "rounds", ["step", "deadline"], unique=False)
    op.create_table(
        "lanes",
        sa.Column("round", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("lane", sa.Integer(), nullable=False),
        sa.Column("total", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["round"], ["rounds.id"], name=op.f("fk_lanes_round")),
        sa.PrimaryKeyConstraint("round", "lane", name=op.f("pk_lanes")),
    )
    op.create_table(
        "members",
        sa.Column("round", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("device", sa.LargeBinary(length=32), nullable=False),
        sa.Column("advert", sa.LargeBinary(), nullable=False),
        sa.Column("chosen", sa.Boolean(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(length=32), nullable=True),
        sa.Column("share", sa.LargeBinary(), nullable=True),
        sa.Column("upload", sa.LargeBinary(length=64), nullable=True),
        sa.Column("signature", sa.LargeBinary(length=64), nullable=True),
        sa.Column("unmask", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["device"], ["devices.identity"], name=op.f("fk_members_device")),
        sa.ForeignKeyConstraint(["round"], ["rounds.id"], name=op.f("fk_members_round")),
        sa.PrimaryKeyConstraint("round", "device", name=op.f("pk_members")),
    )
