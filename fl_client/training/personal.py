"""A purely personal adapter for a skill: trained on the person's own examples, kept in the vault, sent nowhere."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fl_client.errors import NotTrainable, TrainingFailed, TrainingStopped
from fl_client.training.base_model import BaseModel
from fl_client.training.example_rows import Rows
from fl_client.training.factors import Target, count
from fl_client.training.plan import PERSONAL, Fitted, Machine, TrainingPlan, fit
from fl_client.training.protocol import Checkpoint, Order, Precision, Recipe, Result, Row
from fl_client.training.sandboxed import checked_checkpoint, train
from fl_client.training.trained import Trained, as_gguf
from skills.sandbox.job import Progress
from skills.sandbox.noted import noted_best
from vault.adapter_store import MOST_BYTES, AdapterKind, AdapterStore, TrainedAdapter
from vault.classes import DataClass, HighlySensitive
from vault.database import Connection
from vault.errors import NotFound
from vault.example_store import examples_there
from vault.pause import PauseLatch, StopOrPause
from vault.run_store import RunStore, training_of

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["Learned", "PersonalTraining"]

CHECKPOINT_EVERY_S = 30.0
_WITHIN_S = 7 * 24 * 3600.0
_SEED = b"openclaw-core/1 personal adapter\0"
_TOKEN_BYTES = 4
_CHECKPOINT = hashlib.sha256(b"checkpoint").hexdigest()


class Learned(NamedTuple):
    """What came of a training.

    Attributes:
        adapter: Its id in the vault.
        used: Whether the skill uses it from now on: where it was judged, only if it is better than the model alone.
        result: The trainer's.
        trained: The adapter itself.
        rows: How many it learned from.
        held_out: How many it was judged by.
        cut: How many rows were cut, for being too long, of both kinds.
    """

    adapter: str
    used: bool
    result: Result
    trained: Trained
    rows: int
    held_out: int
    cut: int


class PersonalTraining:
    """One training of one skill's adapter, from its rows to keeping what came of them.

    Args:
        vault: Open for writing.
        skill: The skill's name.
        base: The model that is trained on.
        given: What it learns from and is judged by.
        machine: What may be taken.
        plan: How to train.
        precision: What matrices are multiplied in.
    """

    def __init__(
        self,
        vault: "Vault",
        skill: str,
        base: BaseModel,
        given: Rows,
        machine: Machine,
        *,
        plan: TrainingPlan = PERSONAL,
        precision: Precision = "auto",
    ) -> None:
        base.check()
        self._vault = vault
        self._skill = skill
        self._base = base
        self._machine = machine
        self._plan = plan
        self._precision = precision
        self._runs = RunStore(vault.database)
        self._given = given

    def run(
        self, *, on_progress: Callable[[Progress], None] | None = None, stop: threading.Event | None = None
    ) -> Learned:
        """Train on what was read, and keep what comes of it; goes on where it was stopped.

        Args:
            on_progress: Told how far it is.
            stop: Ends it, when set; what was learned until the last checkpoint is kept, sealed.

        Raises:
            NotTrainable: this machine, or this model, can't.
            NoSandbox: nothing confines the trainer here.
            TrainingStopped: `stop` was set.
            TrainingFailed: the trainer ended without a result that can be used.
            NotFound: an example was removed meanwhile.
        """
        fitted = self._fit()
        latch = PauseLatch(self._vault.home)
        latch.check()
        walls = noted_best(self._vault)
        run = _digest(
            [self._skill, self._base.sha256, fitted.recipe, self._given.rows, self._given.held_out, self._precision]
        )
        targets = self._base.targets(fitted.recipe.targets)
        numbers = count(targets, fitted.recipe)
        if _size(targets, fitted.recipe) > MOST_BYTES:
            raise NotTrainable(f"An adapter of {self._base.name} would be larger than {MOST_BYTES >> 20} MiB.")
        resume = self._kept(run, fitted.recipe, numbers)
        self._log(f"{self._rows_told()} {'read again' if resume else 'read'} by the trainer, behind {walls.name}")
        order = Order(
            base=str(self._base.path),
            sha256=self._base.sha256,
            recipe=fitted.recipe,
            rows=self._given.rows,
            held_out=self._given.held_out,
            threads=self._machine.threads,
            tokens_at_once=fitted.tokens_at_once,
            precision=self._precision,
            recompute=fitted.recompute,
            checkpoint_every=CHECKPOINT_EVERY_S,
            resume=resume,
        )
        try:
            result = train(
                order,
                targets,
                walls,
                memory=self._machine.memory,
                wall_s=_WITHIN_S,
                on_progress=on_progress,
                on_checkpoint=lambda kept: self._keep(run, kept),
                stop=StopOrPause(stop or threading.Event(), latch),
            )
        except TrainingStopped:
            latch.check()
            raise
        return self._finish(run, fitted.recipe, result)

    def _fit(self) -> Fitted:
        lengths, held_out = map(_lengths, (self._given.rows, self._given.held_out))
        # The seed decides on nothing that has to be secret, and the same examples are to make the same adapter.
        seed = hashlib.sha256(_SEED + _digest([self._base.sha256, self._given.rows]).encode()).digest()
        return fit(self._plan, self._base, lengths, self._machine, seed, held_out=held_out)

    def _kept(self, run: str, recipe: Recipe, numbers: int) -> Checkpoint | None:
        """Where a run was, if that is known; what another version has written isn't understood."""
        kept = self._runs.answers(run).get(_CHECKPOINT)
        try:
            return checked_checkpoint(kept.reveal(), numbers, recipe) if kept else None
        except TrainingFailed:
            return None

    def _keep(self, run: str, checkpoint: Checkpoint) -> None:
        content = HighlySensitive(msgspec.msgpack.encode(checkpoint))

        def work(connection: Connection) -> None:
            if not examples_there(connection, self._given.learned_from):
                raise NotFound(
                    "An example that the training learns from was removed meanwhile; it was ended.",
                    hint="Train again, without it.",
                )
            self._runs.put(connection, run, training_of(self._skill), _CHECKPOINT, content)

        self._vault.database.write(work)

    def _finish(self, run: str, recipe: Recipe, result: Result) -> Learned:
        trained = Trained.of(self._base, recipe, result)
        content = HighlySensitive(as_gguf(trained))
        record = TrainedAdapter(
            skill=self._skill,
            base_sha256=self._base.sha256,
            kind=AdapterKind(recipe.kind),
            rank=recipe.rank,
            parameters=len(trained.numbers),
            learned_from=self._given.learned_from,
            loss_before=result.judged.before,
            loss_after=result.judged.after,
        )
        before, after = result.judged.before, result.judged.after
        used = before is None or after is None or after < before
        store = AdapterStore(self._vault.database)

        def work(connection: Connection) -> str:
            kept = store.put(connection, record, content, use=used)
            RunStore.remove(connection, run)
            judged = (
                f"; loss on {len(self._given.held_out)} others {before:.3f} before, {after:.3f} after"
                if before
                else ""
            )
            self._record(
                connection,
                f"an adapter of {len(trained.numbers):,} numbers was trained on {self._rows_told()}{judged}; "
                f"{'used from now on' if used else 'not used, for it is no better'}; nothing was sent",
                hashlib.sha256(content.reveal()).hexdigest(),
            )
            return kept

        adapter = self._vault.database.write(work)
        cut = sum(length > recipe.longest for length in _lengths([*self._given.rows, *self._given.held_out]))
        return Learned(adapter, used, result, trained, len(self._given.rows), len(self._given.held_out), cut)

    def _rows_told(self) -> str:
        return f"{len(self._given.rows):,} examples of {self._skill}"

    def _log(self, description: str) -> None:
        self._vault.database.write(lambda connection: self._record(connection, description))

    def _record(self, connection: Connection, description: str, digest: str = "") -> None:
        from vault.log.entries import Action, Entry

        entry = Entry(
            action=Action.TRAIN,
            purpose=f"a personal adapter for {self._skill}",
            data_class=DataClass.HIGHLY_SENSITIVE,
            description=description,
            payload_sha256=digest,
            sensitive=True,
        )
        self._vault.log.record(connection, entry)


def _lengths(rows: Sequence[Row]) -> list[int]:
    """Tokens of each."""
    return [len(row.tokens) // _TOKEN_BYTES for row in rows]


def _size(targets: Sequence[Target], recipe: Recipe) -> int:
    """About how many bytes an adapter's file has."""
    return sum(4 * recipe.rank * (target.inputs + target.outputs) + 256 for target in targets)


def _digest(what: object) -> str:
    return hashlib.sha256(msgspec.msgpack.encode(what)).hexdigest()
