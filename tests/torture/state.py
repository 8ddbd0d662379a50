"""What a vault holds, as digests to compare; and the judgement of a vault that something happened to."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from tests.fixtures.slots import Notebook
from tests.torture.recorder import Event, Operation
from vault.check import check_vault
from vault.connection import Connection
from vault.errors import ClawError, NoVault, WrongPassphrase
from vault.home import Home
from vault.inventory import TABLES, sealed_columns
from vault.keyslots import Keyslots
from vault.pause import PauseLatch
from vault.shred import shred
from vault.slot_kinds import kind_of
from vault.store import Vault

__all__ = ["Mark", "Progress", "Rows", "State", "judge", "observe", "progress", "wrong"]

Rows = dict[str, str]
"""Digest of each row by its table and key, and the kind of each slot by its id."""

_OWN_LIFE = {"vault_state", "log_state", "model_checks", "messages_text"}
"""Tables that change with others, or hold nothing of their own; the vault's own check looks at them."""
_JOURNAL = ("log_entries/", "notifications/", "secrets/", "slots/")
"""Rows that tell what was tried, and slots, whose ids another order of events changes."""


class State(msgspec.Struct, omit_defaults=True):
    """A vault after a step.

    Attributes:
        rows: What it holds; `None` when there is no vault.
        passphrase: What opens it.
        atomic: Whether there is nothing between the state before and this one.
        alarmed: Whether it opens for reading alone, as not the newest.
        paused: Whether everything is paused.
        files: Other files that are there, by their names in the workload's folder.
    """

    rows: Rows | None
    passphrase: str = ""
    atomic: bool = True
    alarmed: bool = False
    paused: bool = False
    files: tuple[str, ...] = ()


class Mark(msgspec.Struct, omit_defaults=True):
    """What a workload notes in its trace.

    Attributes:
        step: Its number, from 1.
        state: What has been reached, once it has ended well, and must last; `None` at its beginning.
    """

    step: int
    state: State | None = None


class Progress(NamedTuple):
    """How far a run came: the last step that was acknowledged, and the last one begun."""

    acknowledged: int
    begun: int


def progress(events: Iterable[Event]) -> Progress:
    """How far a run had come after these events."""
    acknowledged = begun = 0
    for event in events:
        if event.operation is Operation.MARK:
            mark = msgspec.json.decode(event.data, type=Mark)
            begun = mark.step
            acknowledged = acknowledged if mark.state is None else mark.step
    return Progress(acknowledged, begun)


def observe(vault: Vault) -> Rows:
    """Every row, sealed fields opened, and every slot; without empty values, so that schemas compare."""
    fields = vault.database.fields
    slots = Keyslots.read(vault.home.keyslots).slots

    def look(connection: Connection) -> Rows:
        rows: Rows = {f"slots/{slot.id}": kind_of(slot) for slot in slots}
        for name, table in TABLES.items():
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})").fetchall()]
            if name in _OWN_LIFE or not columns:
                continue
            for values in connection.execute(f"SELECT * FROM {name}").fetchall():
                row = dict(zip(columns, values, strict=True))
                key = "/".join(str(row[column]) for column in table.key)
                for column in sealed_columns(name):
                    row[column] = fields.open(name, key, column, row[column]).reveal()
                kept = {column: value for column, value in row.items() if value not in (None, "")}
                rows[f"{name}/{key}"] = hashlib.sha256(repr(kept).encode()).hexdigest()[:16]
        return rows

    return vault.database.read(look)


def wrong(vault: Vault) -> list[str]:
    """What the vault's own check finds: pages, references, index, sealed fields, log, slots."""
    checked = check_vault(vault, lambda _part, _done, _total: None)
    return [f"{part.part}: {problem}" for part in checked for problem in part.wrong]


def judge(
    home: Home,
    states: Sequence[State],
    reached: Progress,
    *,
    whole: Callable[[Path], None] | None = None,
    journal: bool = True,
    thorough: bool = False,
) -> list[str]:
    """What is wrong with a vault after a run that was interrupted; nothing, where all is well.

    Args:
        home: Where it lies.
        states: What there is after each step of the whole run, and before the first.
        reached: How far the interrupted run came.
        whole: Looks at a file that the workload wrote beside the vault; raises `ClawError` when it isn't whole.
        journal: Whether the log must say what it said in the whole run; not where something was refused and logged.
        thorough: Write to the vault as well, and open it again.
    """
    ignored = () if journal else _JOURNAL
    possible = [_without(state, ignored) for state in states[reached.acknowledged : reached.begun + 1]]
    try:
        found = _beside(home, possible, whole)
        vault = _opened(home, possible)
    except NoVault:
        return [] if any(state.rows is None for state in possible) else ["the vault is gone"]
    except ClawError as error:
        if possible[-1].rows is None:
            return _destroy(home)
        return [f"can't be opened: {type(error).__name__}: {error}"]
    try:
        with vault:
            found += _unlike(vault, possible, ignored)
            if thorough and not found and not vault.alarm:
                vault.conversations.start("written afterwards", "")
        if thorough and not found and not vault.alarm:
            with _opened(home, possible) as vault:
                found += [f"false alarm afterwards: {vault.alarm}"] if vault.alarm else wrong(vault)
                vault.conversations.find("written afterwards")
    except ClawError as error:
        found.append(f"can't be used: {type(error).__name__}: {error}")
    return found


def _beside(home: Home, possible: Sequence[State], whole: Callable[[Path], None] | None) -> list[str]:
    """What is wrong with the pause, and with files that the vault wrote."""
    found = []
    if PauseLatch(home).engaged not in {state.paused for state in possible}:
        found.append(f"the pause is {'' if possible[0].paused else 'not '}lost")
    for name in possible[-1].files:
        path = home.data.parent / name
        if path.exists() and whole is not None:
            whole(path)
        elif name in possible[0].files:
            found.append(f"{name} is gone")
    return found


def _destroy(home: Home) -> list[str]:
    """A destruction that was interrupted must be one that can be finished."""
    shred(home, Notebook)
    return ["the vault can't be destroyed"] if home.vault.exists() else []


def _opened(home: Home, possible: Sequence[State]) -> Vault:
    """Open by whichever passphrase the vault may have."""
    for passphrase in dict.fromkeys(state.passphrase for state in possible):
        try:
            return Vault.open_with_passphrase(home, passphrase)
        except WrongPassphrase as error:
            refused = error
    raise refused


def _without(state: State, tables: tuple[str, ...]) -> State:
    if state.rows is None or not tables:
        return state
    rows = {key: digest for key, digest in state.rows.items() if not key.startswith(tables)}
    return msgspec.structs.replace(state, rows=rows)


def _unlike(vault: Vault, possible: Sequence[State], ignored: tuple[str, ...]) -> list[str]:
    """How the vault differs from each state that it may be in."""
    if vault.alarm and not any(state.alarmed for state in possible):
        return [f"false alarm: {vault.alarm}"]
    found = [problem for problem in wrong(vault) if not (vault.alarm and vault.alarm in problem)]
    rows = _without(State(observe(vault)), ignored).rows
    assert rows is not None
    known = [state.rows for state in possible if state.rows is not None]
    if rows in known:
        return found
    if known and not all(state.atomic for state in possible[1:]):
        kept = set.intersection(*(set(state.items()) for state in known))
        if kept <= rows.items() <= set().union(*(state.items() for state in known)):
            return found
    expected = known[0] if known else {}
    lost = sorted(key for key in expected if rows.get(key) != expected[key])
    added = sorted(rows.keys() - expected.keys())
    return [*found, f"neither the old nor the new state: of the old, {lost} differ and {added} were added"]
