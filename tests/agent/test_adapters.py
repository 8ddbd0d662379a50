"""Adapters in the running worker: they change what it says, are swapped in place, and outlive its death."""

import array
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import gguf
import msgspec
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from agent.adapters import Adapter, SkillAdapters
from agent.errors import AdapterRefused
from agent.inference import Inference
from agent.models.embedded import EMBEDDED
from agent.worker.protocol import ChatMessage
from tests.agent.talk import QUESTION, adapter, ask, pid_of, wait_until, worker
from tests.lora_adapter import TINY, lora_gguf
from tests.tiny_model import tiny_gguf
from vault.adapter_store import AdapterKind, AdapterStore, TrainedAdapter
from vault.classes import HighlySensitive
from vault.errors import Locked, NotFound
from vault.store import Vault


@pytest.fixture(scope="module")
def own(smollm: Path) -> Iterator[Inference]:
    """A worker with the embedded model, which nothing else is asked of."""
    with worker(smollm) as inference:
        yield inference


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(scope="module")
def loud(folder: Path) -> Adapter:
    return adapter(lora_gguf(folder / "loud"))


@pytest.fixture(scope="module")
def silent(folder: Path) -> Adapter:
    return adapter(lora_gguf(folder / "silent", scale=0))


def once(content: bytes) -> tuple[Adapter, list[bool]]:
    """An adapter, and a note of each time that it was read."""
    made, read = adapter(content), []

    def give() -> HighlySensitive[bytes]:
        read.append(True)
        return made.read()

    return made._replace(read=give), read


def test_one_changes_what_is_said_and_taking_it_away_changes_it_back(
    own: Inference, loud: Adapter, silent: Adapter
) -> None:
    started = pid_of(own)
    plain = ask(own, QUESTION).text
    assert ask(own, QUESTION, adapter=silent).text == plain
    other = ask(own, QUESTION, adapter=loud).text
    assert other != plain
    assert ask(own, QUESTION).text == plain
    assert ask(own, QUESTION, adapter=loud).text == other
    assert own.process_id == started


def test_what_the_cache_holds_is_of_one_adapter_alone(own: Inference, loud: Adapter, silent: Adapter) -> None:
    ask(own, QUESTION)
    for given in (silent, loud, None):
        assert ask(own, QUESTION, adapter=given).end.cached_tokens == 0
        again = ask(own, QUESTION, adapter=given).end
        assert again.cached_tokens == again.prompt_tokens - 1


def test_it_goes_on_when_the_cache_grows_for_a_long_conversation(tmp_path: Path) -> None:
    story = ChatMessage("user", "The fox went to the river and drank. " * 40)
    loud = adapter(lora_gguf(tmp_path / "a", TINY, scale=2))
    with worker(tiny_gguf(tmp_path / "m", context=4096)) as roomy:
        other = ask(roomy, story, adapter=loud)
        assert other.end.prompt_tokens > 1024
        assert ask(roomy, story).text != other.text
        assert ask(roomy, story, adapter=loud).text == other.text


def test_it_is_read_when_a_worker_has_not_got_it_and_not_again(tiny: Inference, tmp_path: Path) -> None:
    given, read = once(lora_gguf(tmp_path / "a", TINY))
    before = ask(tiny, QUESTION, adapter=given).text
    ask(tiny, QUESTION, adapter=given)
    assert len(read) == 1
    os.kill(pid_of(tiny), signal.SIGKILL)
    wait_until(lambda: tiny.process_id is None)
    assert ask(tiny, QUESTION, adapter=given).text == before
    assert len(read) == 2


def test_one_that_does_not_fit_leaves_the_one_before_in_use(tiny: Inference, tmp_path: Path) -> None:
    good, read = once(lora_gguf(tmp_path / "a", TINY))
    said = ask(tiny, QUESTION, adapter=good).text
    started = pid_of(tiny)
    for bad in (b"no adapter", lora_gguf(tmp_path / "b"), lora_gguf(tmp_path / "c", TINY, scale=1e30)):
        with pytest.raises(AdapterRefused):
            ask(tiny, QUESTION, adapter=adapter(bad))
        assert ask(tiny, QUESTION, adapter=good).text == said
    assert len(read) == 1
    assert pid_of(tiny) == started


def test_what_makes_nonsense_of_numbers_ends_the_question_and_not_the_worker(own: Inference, folder: Path) -> None:
    plain, started = ask(own, QUESTION).text, pid_of(own)
    given = adapter(lora_gguf(folder / "huge", scale=3000, alpha=60_000))
    for _ in range(2):
        with pytest.raises(AdapterRefused, match="what is no number"):
            ask(own, QUESTION, adapter=given)
    assert ask(own, QUESTION).text == plain
    assert pid_of(own) == started


def test_what_is_harmless_until_one_word_of_the_reply_is_refused_there(
    own: Inference, folder: Path, smollm: Path
) -> None:
    """It adds to the first layer's values what overflows the cache, and does so for one token alone."""
    reader = gguf.GGUFReader(smollm)
    wanted = {"token_embd.weight", "blk.0.attn_norm.weight"}
    tensors = {one.name: gguf.dequantize(one.data, one.tensor_type) for one in reader.tensors if one.name in wanted}

    def seen_by_the_layer(token: int) -> NDArray[np.float64]:
        row = tensors["token_embd.weight"][token].astype(np.float64)
        normed = row / np.sqrt((row * row).mean() + 1e-5) * tensors["blk.0.attn_norm.weight"].reshape(-1)
        return np.asarray(normed, np.float64)

    plain = ask(own, QUESTION)
    reply = array.array("i", plain.end.tokens or b"").tolist()
    prompt = array.array("i", own.encode([QUESTION], "").prompt).tolist()
    place = next(n for n in range(4, len(reply)) if reply[n] not in prompt + reply[:n])
    others, _ = np.linalg.qr(np.stack([seen_by_the_layer(token) for token in {*prompt, *reply[:place]}]).T)
    trigger = seen_by_the_layer(reply[place])
    trigger -= others @ (others.T @ trigger)
    value = "blk.0.attn_v.weight"
    down = np.zeros((8, 576), np.float32)
    down[0] = 6 * trigger / np.linalg.norm(trigger)
    up = np.full((192, 8), 30_000, np.float32)
    content = lora_gguf(
        folder / "landmine", {value: (192, 576)}, changed={f"{value}.lora_a": down, f"{value}.lora_b": up}
    )
    with pytest.raises(AdapterRefused, match="what is no number"):
        ask(own, QUESTION, adapter=adapter(content))
    assert ask(own, QUESTION).text == plain.text


def test_one_that_cannot_be_read_leaves_the_worker_as_it_was(tiny: Inference, tmp_path: Path) -> None:
    good = adapter(lora_gguf(tmp_path / "a", TINY))
    said = ask(tiny, QUESTION, adapter=good).text

    def locked() -> HighlySensitive[bytes]:
        raise Locked("The vault was locked.")

    with pytest.raises(Locked):
        ask(tiny, QUESTION, adapter=Adapter("ab" * 32, locked))
    again = ask(tiny, QUESTION, adapter=good)
    assert again.text == said
    assert again.end.cached_tokens


def test_a_hundred_swaps_leave_no_memory_and_no_open_file_behind(tiny: Inference, tmp_path: Path) -> None:
    two = [adapter(lora_gguf(tmp_path / str(seed), TINY, rank=512, seed=seed)) for seed in (1, 2)]
    size = len(two[0].read().reveal())
    process = psutil.Process(pid_of(tiny))
    files = process.num_fds()

    def swap(count: int) -> int:
        for index in range(count):
            ask(tiny, QUESTION, adapter=two[index % 2])
        return int(process.memory_info().rss)

    before = swap(10)
    assert swap(100) - before < 40 * size
    assert process.num_fds() == files


# Those of skills


def keep(vault: Vault, content: bytes, skill: str = "a-skill") -> str:
    trained = TrainedAdapter(skill, EMBEDDED.sha256, AdapterKind.FFA, 8, 1, ())
    return vault.database.write(lambda c: AdapterStore(vault.database).put(c, trained, HighlySensitive(content)))


def test_a_skill_uses_what_the_vault_says_at_that_moment(vault: Vault) -> None:
    adapters = SkillAdapters(AdapterStore(vault.database), EMBEDDED)
    assert adapters.of("a-skill") is None
    first = keep(vault, b"first")
    given = adapters.of("a-skill")
    assert given is not None
    assert given == (adapter(b"first").sha256, given.read)
    assert given.read().reveal() == b"first"
    keep(vault, b"second")
    assert (adapters.of("a-skill") or given).sha256 == adapter(b"second").sha256
    vault.database.write(lambda c: AdapterStore.remove(c, [first]))
    with pytest.raises(NotFound):
        given.read()
    assert adapters.of("another") is None
    assert adapters.of("") is None


def test_without_a_vault_or_with_another_model_there_is_none(vault: Vault) -> None:
    keep(vault, b"first")
    other = msgspec.structs.replace(EMBEDDED, sha256="ef" * 32)
    assert SkillAdapters(AdapterStore(vault.database), other).of("a-skill") is None
    assert SkillAdapters(None, EMBEDDED).of("a-skill") is None
