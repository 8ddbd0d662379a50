"""What an orchestrator keeps. Nothing of it opens an update: masked sums, sealed shares, signatures, public facts.

Times are seconds since 1970. Messages are kept as they came, in the federation's encoding (`docs/protocol.md`).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

__all__ = ["devices", "invites", "lanes", "leaves", "log", "members", "metadata", "releases", "rounds", "tasks"]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_Serial = BigInteger().with_variant(Integer, "sqlite")

invites = Table(
    "invites",
    metadata,
    Column("id", LargeBinary(32), primary_key=True),  # a digest of the secret, which isn't here
    Column("uses", Integer, nullable=False),
    Column("used", Integer, nullable=False, default=0),
    Column("until", Double, nullable=False),
    Column("requests_a_minute", Integer, nullable=False),
    CheckConstraint("used <= uses", name="used"),
)

devices = Table(
    "devices",
    metadata,
    Column("identity", LargeBinary(32), primary_key=True),
    Column("invite", LargeBinary(32), ForeignKey("invites.id"), nullable=False, index=True),
    Column("proof", LargeBinary(32), nullable=False),  # of knowing the invite's secret; the registrar looks at it
    Column("asked", Double, nullable=False),
    Column("certificate", LargeBinary(64)),  # the registrar's, once it has vouched
    Column("refused", String(200)),  # why it didn't
    Column("revoked", Double),
    Column("counter", BigInteger, nullable=False, default=0),  # of the last request
    Column("minute", BigInteger, nullable=False, default=0),  # of the last request, since 1970
    Column("requests", Integer, nullable=False, default=0),  # in that minute
    Column("requests_a_minute", Integer, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("message", LargeBinary, nullable=False),
    Column("place", BigInteger, nullable=False),  # in the log of releases
    Column("state", String(16), nullable=False),  # open, paused, finished
    Column("promotes", Boolean, nullable=False),  # whether a new release is in use at once
    Column("in_use", BigInteger, nullable=False, default=0),  # the number of a release
    Column("promotion", BigInteger),  # the place in the log that says so
    Column("next_round", BigInteger, nullable=False, default=1),
    Column("not_before", Double, nullable=False, default=0.0),  # the next round begins no earlier
)

rounds = Table(
    "rounds",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("task", LargeBinary(32), ForeignKey("tasks.digest"), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("message", LargeBinary, nullable=False),
    Column("nonce", LargeBinary(32), nullable=False),
    Column("release", BigInteger, nullable=False),  # what its devices begin with
    Column("step", String(16), nullable=False),  # of secure aggregation; then: sum, done, aborted
    Column("deadline", Double, nullable=False),  # of the step
    Column("begun", Double, nullable=False),
    Column("ended", Double),
    Column("outcome", String(300), nullable=False, default=""),
    Column("leased", Double, nullable=False, default=0.0),  # until when somebody works on its sum
    UniqueConstraint("task", "number"),
    Index(None, "step", "deadline"),
)

members = Table(
    "members",
    metadata,
    Column("round", _Serial, ForeignKey("rounds.id"), primary_key=True),
    Column("device", LargeBinary(32), ForeignKey("devices.identity"), primary_key=True, index=True),
    Column("advert", LargeBinary, nullable=False),
    Column("chosen", Boolean, nullable=False, default=False),
    Column("nonce", LargeBinary(32)),
    Column("share", LargeBinary),
    Column("upload", LargeBinary(64)),  # the signature that came with the update; the update is in a lane's sum
    Column("signature", LargeBinary(64)),
    Column("unmask", LargeBinary),
)

lanes = Table(
    "lanes",
    metadata,
    Column("round", _Serial, ForeignKey("rounds.id"), primary_key=True),
    Column("lane", Integer, primary_key=True),
    Column("total", LargeBinary, nullable=False),  # of the masked updates that went this way, little-endian uint32
)

releases = Table(
    "releases",
    metadata,
    Column("task", LargeBinary(32), ForeignKey("tasks.digest"), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("message", LargeBinary, nullable=False),
    Column("place", BigInteger, nullable=False),  # in the log of releases
    Column("moments", LargeBinary(32)),  # digest of what the server's optimizer remembers, if it does
)

leaves = Table(
    "leaves",
    metadata,
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("message", LargeBinary, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
)

log = Table(
    "log",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("frontier", LargeBinary, nullable=False),
    Column("checkpoint", String, nullable=False),
    CheckConstraint("id = 1", name="one"),
)
