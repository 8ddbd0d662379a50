"""What the torture interrupts: small pieces of a vault's life, the same in each run.

To add one, write a function that takes a `Stage` and divides what it does into steps, and name it in `WORKLOADS`.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from tests.fixtures.slots import Notebook
from tests.torture import beginnings, taking_along
from tests.torture.beginnings import CHEAP, PASSPHRASE
from tests.torture.repeatable import make_repeatable
from tests.torture.stage import Stage
from tests.torture.state import State
from vault.classes import DataClass
from vault.conversations import Conversations
from vault.log.entries import Action, Entry
from vault.messages import Attachment, Generation, MessageId, Session
from vault.pause import PauseLatch
from vault.recovery import RecoveryKit
from vault.retention import Retained
from vault.shred import shred
from vault.store import Vault

__all__ = ["WORKLOADS", "Workload"]

_WORDS = "sphinx of black quartz, judge my vow "
_DAY_MS = 24 * 3600 * 1000


class Workload(NamedTuple):
    """One of them.

    Attributes:
        prepare: Makes what it begins with, in an empty folder.
        run: Does it.
        whole: Looks at a file that it wrote beside the vault; raises `ClawError` when it isn't whole.
        journals: Whether it logs what it tries, so that a fault changes what the log says.
        several: Whether several processes take part, so that changes can't be counted in one of them.
    """

    prepare: Callable[[Path], None]
    run: Callable[[Stage], None]
    whole: Callable[[Path], None] | None = None
    journals: bool = False
    several: bool = False


def _make(stage: Stage) -> None:
    stage.reach(State({}, PASSPHRASE), lambda: Vault.create(stage.home, PASSPHRASE, cost=CHEAP))
    _say_something(stage)
    stage.close()


def _talk(stage: Stage) -> None:
    """Questions, and replies that are kept while they grow."""
    talk = stage.open().conversations
    session = stage.step(talk.start, "talk", "Be brief.")
    parent: MessageId | None = None
    for turn in range(4):
        question = stage.step(talk.append, session.id, parent, "user", f"{turn} {_WORDS * 9}")
        reply = stage.step(talk.append, session.id, question.id, "assistant", "", status="streaming")
        for length in (5, 40):
            stage.step(talk.checkpoint, reply.id, _WORDS * length)
        stage.step(talk.finish, reply.id, _WORDS * 60, "complete", _PROVENANCE)
        parent = reply.id
    stage.step(talk.rename, session.id, "renamed")
    stage.close()


def _attach(stage: Stage) -> None:
    """Files with messages, replaced by others."""
    talk = stage.open().conversations
    session = stage.step(talk.start, "files", "")
    for number in range(4):
        files = [Attachment(f"{number}-{file}.txt", f"{file} {_WORDS * 200}") for file in range(3)]
        message = stage.step(talk.append, session.id, None, "user", _WORDS, attachments=files)
        stage.step(talk.replace_attachments, message.id, files[:1])
    stage.close()


def _delete(stage: Stage) -> None:
    """Sessions deleted, messages discarded with all below them."""
    talk = stage.open().conversations
    kept, *others = talk.sessions()
    for session in others:
        stage.step(talk.delete, session.id)
    for message in reversed(talk.path(kept.id)):
        stage.step(talk.discard, message.id)
    _say_something(stage)
    stage.close()


def _log(stage: Stage) -> None:
    """Entries of the transparency log, alone; some of them cleared in the end."""
    vault = stage.open()
    for number in range(12):
        stage.step(vault.log.append, _entry(number))
    stage.gradually(vault.retention.run, 2 * beginnings.EPOCH_MS)
    stage.step(vault.log.append, _entry(12))
    stage.close()


def _check(stage: Stage) -> None:
    """The write-ahead log folded into the file between writes."""
    vault = stage.open()
    for _ in range(4):
        _say_something(stage)
        stage.step(vault.integrity_errors)
    stage.close()


def _fill(stage: Stage) -> None:
    """The write-ahead log folded in by itself, because it is long, and begun anew."""
    stage.open()
    for _ in range(8):
        _say_something(stage)
    stage.close()


def _reopen(stage: Stage) -> None:
    """Opened, written to and closed, time and again."""
    for _ in range(4):
        stage.open()
        _say_something(stage)
        stage.close()


def _change_slots(stage: Stage) -> None:
    """Ways to open the vault added and taken away, while it is in use."""
    slots = stage.open().slots
    keychain = Notebook()
    added = [stage.gradually(slots.add_keychain, keychain) for _ in range(2)]
    added.append(stage.gradually(slots.add_recovery, RecoveryKit.generate(2, 3)))
    _say_something(stage)
    for slot in added:
        stage.gradually(slots.remove, slot)
    stage.close()


def _change_passphrase(stage: Stage) -> None:
    for number in range(3):
        slots = stage.open().slots
        passphrase = f"another passphrase {number}"
        (slot,) = slots.read().slots
        changed = replace(stage.now, passphrase=passphrase)
        stage.reach(changed, lambda: slots.change_passphrase(slot.id, passphrase, CHEAP), atomic=False)  # noqa: B023
        stage.close()


def _rotate(stage: Stage) -> None:
    """New keys, twice; and used between."""
    for _ in range(2):
        stage.open()
        _say_something(stage)
        stage.last(stage.vault.rotate)
    stage.open()
    _say_something(stage)
    stage.close()


def _retain(stage: Stage) -> None:
    """How long things are kept changed, and what is due let go of."""
    retention = stage.open().retention
    stage.gradually(retention.set, Retained.ARCHIVED_SESSIONS, 1, confirmed=True)
    stage.gradually(retention.run, beginnings.EPOCH_MS + 40 * _DAY_MS)
    _say_something(stage)
    stage.gradually(retention.run, beginnings.EPOCH_MS + 80 * _DAY_MS)
    stage.close()


def _erase(stage: Stage) -> None:
    """Conversations erased on purpose, one by one."""
    vault = stage.open()
    for session in vault.conversations.sessions():
        stage.step(vault.erasure.carry_out, vault.erasure.of_sessions([session]))
    _say_something(stage)
    stage.close()


def _destroy(stage: Stage) -> None:
    """The whole vault destroyed, and another made in its place."""
    stage.reach(replace(stage.now, rows=None), lambda: shred(stage.home, Notebook))
    _make(stage)


def _pause(stage: Stage) -> None:
    latch = PauseLatch(stage.home)
    for _ in range(3):
        stage.reach(replace(stage.now, paused=True), lambda: latch.engage("tests"))
        stage.reach(replace(stage.now, paused=False), lambda: latch.release("tests"))


def _accept(stage: Stage) -> None:
    """A vault that was put back, taken as it is."""
    vault = stage.open()
    stage.reach(replace(stage.now, alarmed=False), vault.accept, atomic=False)
    _say_something(stage)
    stage.close()


def _two(stage: Stage) -> None:
    """Two processes that have the vault open, and write in turns."""
    (mine, to_me), (theirs, to_them) = os.pipe(), os.pipe()
    if not os.fork():
        os.close(to_them)
        make_repeatable(1)
        _answer(stage, theirs, to_me)
    os.close(theirs)
    os.close(to_me)

    def ask() -> None:
        os.write(to_them, b"?")
        if os.read(mine, 1) != b"!":
            raise RuntimeError("the other process is gone")

    def end() -> None:
        os.close(to_them)
        os.wait()

    talk = stage.open().conversations
    session = stage.step(talk.start, "two", "")
    for _ in range(6):
        stage.step(ask)
        stage.step(talk.append, session.id, None, "user", _WORDS * 9)
    stage.step(end)
    stage.step(talk.append, session.id, None, "user", _WORDS * 9)
    stage.close()


def _answer(stage: Stage, asked: int, answer: int) -> None:
    with Vault.open_with_passphrase(stage.home, PASSPHRASE) as vault:
        while os.read(asked, 1):
            vault.conversations.start("the other's", "")
            os.write(answer, b"!")
    os._exit(0)


def _say_something(stage: Stage) -> None:
    talk: Conversations = stage.vault.conversations
    session: Session = stage.step(talk.start, "another", "")
    stage.step(talk.append, session.id, None, "user", _WORDS * 30)


def _entry(number: int) -> Entry:
    return Entry(
        action=Action.CHAT,
        purpose="torture",
        data_class=DataClass.MEDIUM,
        description=f"entry {number}",
        sensitive=number % 2 == 0,
    )


_PROVENANCE = Generation(
    model_name="model",
    model_sha256="00" * 32,
    adapter_sha256=None,
    sampling={"temperature": 0.5},
    finish="stop",
    prompt_tokens=1,
    cached_tokens=0,
    completion_tokens=1,
    load_s=0.0,
    prefill_s=0.0,
    decode_s=0.0,
    first_token_s=0.0,
    tokens=bytes(400),
)

WORKLOADS: dict[str, Workload] = {
    "make": Workload(beginnings.nothing, _make),
    "talk": Workload(beginnings.lived_in, _talk),
    "attach": Workload(beginnings.lived_in, _attach),
    "delete": Workload(beginnings.lived_in, _delete),
    "log": Workload(beginnings.lived_in, _log),
    "check": Workload(beginnings.lived_in, _check),
    "fill": Workload(beginnings.nearly_full_log, _fill),
    "reopen": Workload(beginnings.lived_in, _reopen),
    "recover": Workload(beginnings.killed, _reopen),
    "two": Workload(beginnings.lived_in, _two, several=True),
    "migrate": Workload(beginnings.version_1, _reopen),
    "migrate-recover": Workload(beginnings.version_1_killed, _reopen),
    "slots": Workload(beginnings.lived_in, _change_slots, journals=True),
    "passphrase": Workload(beginnings.lived_in, _change_passphrase, journals=True),
    "rotate": Workload(beginnings.lived_in, _rotate),
    "retain": Workload(beginnings.lived_in, _retain),
    "erase": Workload(beginnings.lived_in, _erase),
    "destroy": Workload(beginnings.lived_in, _destroy),
    "pause": Workload(beginnings.lived_in, _pause),
    "accept": Workload(beginnings.put_back, _accept),
    "back-up": Workload(beginnings.lived_in, taking_along.back_up, taking_along.whole_backup, journals=True),
    "restore": Workload(taking_along.a_backup, taking_along.restore),
    "export": Workload(beginnings.lived_in, taking_along.export, taking_along.whole_export, journals=True),
}
