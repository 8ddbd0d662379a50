"""What the vault holds: every table and column with its class, how long it is kept, and what erases it.

`tests/vault/test_inventory.py` walks the real schema and fails on whatever isn't named here. Export, backup,
restore, erasure, rotation and `claw vault status` all read this one page.
"""

from enum import StrEnum
from typing import NamedTuple

from vault.classes import DataClass

__all__ = ["TABLES", "Kind", "Table", "Travels", "sealed_columns"]

_MEDIUM, _GENERAL, _SENSITIVE = DataClass.MEDIUM, DataClass.GENERAL, DataClass.HIGHLY_SENSITIVE


class Kind(StrEnum):
    """What a table's rows are to a person."""

    CONVERSATIONS = "conversations"
    ATTACHMENTS = "attached files"
    MODELS = "models"
    SKILLS = "skills"
    PERMISSIONS = "permissions"
    NOTES = "notes"
    EXAMPLES = "training examples"
    ADAPTERS = "trained adapters"
    SKILL_RUNS = "unfinished runs of skills"
    FEDERATIONS = "federations and consents"
    KEYS = "keys of this device"
    LOG = "transparency log"
    NOTIFICATIONS = "notifications"
    BOOKKEEPING = "bookkeeping"


class Travels(StrEnum):
    """Where a table's rows go when a person takes their data along."""

    EVERYWHERE = "everywhere"
    """Into exports and backups."""
    BACKUP = "backup"
    """Into encrypted backups alone."""
    NOWHERE = "nowhere"
    """They are about this very file."""


class Table(NamedTuple):
    """One table.

    Attributes:
        kind: What its rows are to a person.
        key: Its primary key's columns; a sealed field is bound to their values, joined by "/".
        columns: Each column's class, in the order of the schema.
        travels: Where the rows go.
        erased_with: The table whose deleted rows take these with them; empty when none does.
        merges: Whether rows of another vault may be added to them. Those that tell of one device alone don't mix.
        since: The version of the schema that it came with: what was taken along before can't hold it.
    """

    kind: Kind
    key: tuple[str, ...]
    columns: dict[str, DataClass]
    travels: Travels = Travels.EVERYWHERE
    erased_with: str = ""
    merges: bool = True
    since: int = 1


def _all(data_class: DataClass, names: str) -> dict[str, DataClass]:
    return dict.fromkeys(names.split(), data_class)


# In the order in which they can be filled: a table comes after those that it refers to.
TABLES: dict[str, Table] = {
    "sessions": Table(
        Kind.CONVERSATIONS,
        ("n",),
        _all(_MEDIUM, "n id title system_prompt created_ms updated_ms head forked_from archived_ms source"),
    ),
    "messages": Table(
        Kind.CONVERSATIONS,
        ("n",),
        _all(_MEDIUM, "n id session_id parent_id role text status created_ms source"),
        erased_with="sessions",
    ),
    "attachments": Table(
        Kind.ATTACHMENTS,
        ("n",),
        {**_all(_MEDIUM, "n message_id name"), "text": _SENSITIVE},
        erased_with="messages",
    ),
    "generations": Table(
        Kind.CONVERSATIONS,
        ("message_id",),
        _all(
            _MEDIUM,
            "message_id model_name model_sha256 adapter_sha256 sampling finish prompt_tokens cached_tokens "
            "completion_tokens load_s prefill_s decode_s first_token_s tokens",
        ),
        erased_with="messages",
    ),
    "messages_text": Table(
        Kind.CONVERSATIONS, ("rowid",), _all(_MEDIUM, "text"), travels=Travels.NOWHERE, erased_with="messages"
    ),
    "models": Table(
        Kind.MODELS,
        ("name",),
        _all(
            _GENERAL,
            "name file sha256 bytes source architecture context_length parameters quantization licence added_ms",
        ),
    ),
    "model_checks": Table(
        Kind.MODELS,
        ("sha256",),
        _all(_GENERAL, "sha256 device inode bytes mtime_ns ctime_ns checked_ns"),
        travels=Travels.NOWHERE,
    ),
    "skills": Table(
        Kind.SKILLS,
        ("name",),
        _all(_MEDIUM, "name digest source approved_ms enabled"),
        merges=False,  # agreeing to one can't be imported
        since=5,
    ),
    "skill_files": Table(
        Kind.SKILLS,
        ("skill", "name"),
        _all(_MEDIUM, "skill name data"),
        erased_with="skills",
        merges=False,
        since=5,
    ),
    "permissions": Table(
        Kind.PERMISSIONS,
        ("permission", "resource"),
        _all(_MEDIUM, "permission resource data_class decision set_ms"),
        merges=False,  # agreeing can't be imported
        since=6,
    ),
    "notes": Table(Kind.NOTES, ("id",), _all(_MEDIUM, "id text source created_ms"), since=6),
    "skill_examples": Table(
        Kind.EXAMPLES,
        ("id",),
        {**_all(_MEDIUM, "id skill kind source created_ms"), **_all(_SENSITIVE, "input output")},
        since=7,
    ),
    "skill_adapters": Table(
        Kind.ADAPTERS,
        ("id",),
        _all(
            _MEDIUM,
            "id skill base_sha256 version active sha256 bytes kind rank parameters examples loss_before loss_after "
            "created_ms origin",
        ),
        merges=False,  # what answers in the place of the model can't be imported
        since=10,
    ),
    "skill_adapter_parts": Table(
        Kind.ADAPTERS,
        ("adapter", "part"),
        {**_all(_MEDIUM, "adapter part"), "data": _SENSITIVE},
        erased_with="skill_adapters",
        merges=False,
        since=10,
    ),
    "skill_adapter_examples": Table(
        Kind.ADAPTERS,
        ("adapter", "example"),
        _all(_MEDIUM, "adapter example source"),
        erased_with="skill_adapters",
        merges=False,
        since=10,
    ),
    "skill_runs": Table(
        Kind.SKILL_RUNS,
        ("id",),
        _all(_MEDIUM, "id skill started_ms updated_ms"),
        travels=Travels.NOWHERE,
        merges=False,
        since=9,
    ),
    "skill_run_answers": Table(
        Kind.SKILL_RUNS,
        ("run", "request"),
        {**_all(_MEDIUM, "run request"), "answer": _SENSITIVE},
        travels=Travels.NOWHERE,
        erased_with="skill_runs",
        merges=False,
        since=9,
    ),
    "federations": Table(
        Kind.FEDERATIONS,
        ("id",),
        {
            **_all(_MEDIUM, "id name address pins registrar log"),
            **_all(_SENSITIVE, "identity invite"),
            **_all(_MEDIUM, "certificate counter log_size log_root checkpoint joined_ms"),
        },
        travels=Travels.BACKUP,
        merges=False,
        since=12,
    ),
    "consents": Table(
        Kind.FEDERATIONS,
        ("version",),
        _all(
            _MEDIUM,
            "version federation name task task_name message source text installs given_ms withdrawn_ms",
        ),
        merges=False,  # agreeing can't be imported
        since=12,
    ),
    "participations": Table(
        Kind.FEDERATIONS,
        ("federation", "task", "round"),
        _all(_MEDIUM, "federation task round consent release began_ms cohort sent_ms bytes sha256 outcome"),
        merges=False,
        since=12,
    ),
    "federation_releases": Table(
        Kind.FEDERATIONS,
        ("federation", "task", "number"),
        _all(
            _MEDIUM,
            "federation task number sha256 cohort survivors seen_ms loss_before loss_after decision adapter",
        ),
        merges=False,
        since=12,
    ),
    "secrets": Table(
        Kind.KEYS, ("name",), {"name": _GENERAL, "value": _SENSITIVE}, travels=Travels.BACKUP, merges=False, since=2
    ),
    "log_entries": Table(
        Kind.LOG, ("seq",), _all(_MEDIUM, "seq at_ms sensitive commitment root salt body"), merges=False, since=2
    ),
    "log_state": Table(Kind.LOG, ("only",), _all(_GENERAL, "only size frontier checkpoint"), merges=False, since=2),
    "retention": Table(Kind.BOOKKEEPING, ("kind",), _all(_GENERAL, "kind days"), merges=False, since=2),
    "tombstones": Table(Kind.BOOKKEEPING, ("kind", "id"), _all(_MEDIUM, "kind id erased_ms"), since=2),
    "notifications": Table(
        Kind.NOTIFICATIONS, ("n",), _all(_MEDIUM, "n at_ms kind details seen_ms"), merges=False, since=2
    ),
    "egress_days": Table(Kind.LOG, ("day",), _all(_GENERAL, "day sent received"), merges=False, since=2),
    "learning_days": Table(Kind.LOG, ("day",), _all(_GENERAL, "day trained_ms uploaded"), merges=False, since=11),
    "slots_seen": Table(
        Kind.BOOKKEEPING, ("slot_id",), _all(_GENERAL, "slot_id first_ms"), travels=Travels.NOWHERE, since=2
    ),
    "sandbox_tier": Table(
        Kind.BOOKKEEPING, ("only",), _all(_GENERAL, "only name since_ms"), travels=Travels.NOWHERE, since=8
    ),
    "vault_state": Table(
        Kind.BOOKKEEPING,
        ("only",),
        _all(_GENERAL, "only epoch field_epoch created_ms rotated_ms retained_ms slots_epoch before remains"),
        travels=Travels.NOWHERE,
        since=2,
    ),
}


def sealed_columns(table: str) -> list[str]:
    """The columns of a table that hold sealed fields."""
    return [name for name, data_class in TABLES[table].columns.items() if data_class is _SENSITIVE]
