"""Which adapters fit a model: what llama.cpp would end its process over, or believe wrongly, never reaches it."""

import random
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from agent.errors import AdapterRefused, ModelRefused
from agent.inference import Inference
from agent.models.adapter import AdaptableModel
from agent.models.embedded import embedded_file
from agent.models.weights import open_weights
from tests.agent.talk import GREEDY, QUESTION, adapter, worker
from tests.lora_adapter import SMOLLM, TINY, Array, lora_gguf

Q = "blk.0.attn_q.weight"
HEADER = 700
"""Bytes of what a tiny adapter says of itself, about."""


def adaptable(path: Path) -> AdaptableModel:
    descriptor = open_weights(path)
    with open(descriptor, "rb"):
        return AdaptableModel.read(descriptor)


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> AdaptableModel:
    return adaptable(tiny_model)


def refusal(model: AdaptableModel, content: bytes) -> str:
    with pytest.raises(AdapterRefused) as refused:
        model.check(content)
    assert refused.value.exit_code == 6
    assert "claw skill adapters" in refused.value.hint
    return refused.value.message


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def test_of_a_model_the_matrices_of_its_layers_count(tiny: AdaptableModel) -> None:
    embedded = adaptable(embedded_file())
    assert embedded.architecture == tiny.architecture == "llama"
    assert {name: shape[::-1] for name, shape in embedded.matrices.items()}.items() >= SMOLLM.items()
    assert len(embedded.matrices) == 30 * 7
    assert not {"token_embd.weight", "blk.0.attn_norm.weight"} & embedded.matrices.keys()


def test_one_that_was_made_for_it_fits(tiny: AdaptableModel, tmp_path: Path) -> None:
    tiny.check(lora_gguf(tmp_path / "a", TINY))
    tiny.check(lora_gguf(tmp_path / "a", TINY, rank=1, more={"general.name": "mine"}))
    tiny.check(lora_gguf(tmp_path / "a", TINY, changed={f"{Q}.lora_b": np.full((64, 8), 32_767.9, np.float32)}))
    adaptable(embedded_file()).check(lora_gguf(tmp_path / "a"))
    assert "weights that the model hasn't got" in refusal(tiny, lora_gguf(tmp_path / "a"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no GGUF file"),
        (b"<html>", "no GGUF file"),
        (b"GGUF", "damaged"),
        (b"GGUF" + bytes(60), "damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**40, 2**40), "damaged"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 2**60), "damaged"),
    ],
)
def test_what_is_no_adapter_is_refused(tiny: AdaptableModel, content: bytes, why: str) -> None:
    assert why in refusal(tiny, content)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"architecture": "qwen2"}, "another architecture"),
        ({"kind": "model"}, "no LoRA adapter"),
        ({"form": "control-vector"}, "no LoRA adapter"),
        ({"alpha": -1.0}, "alpha"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": float("inf")}, "alpha"),
        ({"alpha": float("nan")}, "alpha"),
        ({"more": {"adapter.alora.invocation_tokens": "1"}}, "no adapter of ours says"),
        ({"more": {"tokenizer.chat_template": "{{ x }}"}}, "no adapter of ours says"),
        ({"more": {"adapter.lora.alpha": "16"}, "alpha": -1.0}, "another type"),
        ({"more": {"general.alignment": "32"}}, "another type"),
        ({"changed": {f"{Q}.lora_b": None}}, "aren't pairs"),
        ({"changed": {f"{Q}.lora_a": None}}, "aren't pairs"),
        ({"changed": {"blk.0.attn_norm.weight": zeros(64)}}, "aren't pairs"),
        ({"changed": {f"{Q}.lora_a": zeros(8, 32)}}, "shapes aren't"),
        ({"changed": {f"{Q}.lora_b": zeros(32, 8)}}, "shapes aren't"),
        ({"changed": {f"{Q}.lora_a": zeros(2, 4, 64)}}, "shapes aren't"),
        ({"changed": {f"{Q}.lora_a": zeros(4, 64)}}, "don't fit each other"),
        ({"rank": 1025}, "don't fit each other"),
        (
            {"changed": {"token_embd.weight.lora_a": zeros(8, 259), "token_embd.weight.lora_b": zeros(8, 64)}},
            "hasn't",
        ),
        ({"changed": {f"{Q}.lora_a": zeros(8, 64).astype(np.float16)}}, "aren't float32"),
        ({"changed": {f"{Q}.lora_b": np.full((64, 8), np.nan, np.float32)}}, "no numbers"),
        ({"changed": {f"{Q}.lora_b": np.full((64, 8), -32_768, np.float32)}}, "beyond all measure"),
        ({"changed": {f"{Q}.lora_b": np.full((64, 8), np.inf, np.float32)}}, "no numbers"),
        ({"changed": {f"{Q}.lora_b": np.array([[np.inf, -np.inf] * 4] * 64, np.float32)}}, "no numbers"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_is_wrong(
    tiny: AdaptableModel, tmp_path: Path, given: dict[str, object], why: str
) -> None:
    assert why in refusal(tiny, lora_gguf(tmp_path / "a", TINY, **given))  # type: ignore[arg-type]


def test_a_whole_model_is_no_adapter(tiny: AdaptableModel, tiny_model: Path) -> None:
    refusal(tiny, tiny_model.read_bytes())


def test_one_that_is_cut_off_anywhere_is_refused(tiny: AdaptableModel, tmp_path: Path) -> None:
    content = lora_gguf(tmp_path / "a", TINY)
    last = max(tensor.data_offset + tensor.n_bytes for tensor in gguf.GGUFReader(tmp_path / "a").tensors)
    for length in (*range(0, 900, 7), last // 2, last - 1):
        refusal(tiny, content[:length])


def mutated(content: bytes, chance: random.Random) -> bytes:
    """A change of a real adapter: bytes and whole numbers of its header, of its weights, and its length."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(HEADER if chance.random() < 0.8 else len(changed))
        match chance.randrange(5):
            case 0:
                changed[at] = chance.randrange(256)
            case 1:
                changed[at] ^= 1 << chance.randrange(8)
            case 2:
                number = chance.choice([0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, chance.randrange(100)])
                changed[at : at + 8] = struct.pack("<Q", number)
            case 3:
                del changed[at : at + chance.randrange(1, 40)]
            case 4:
                changed[at:at] = chance.randbytes(chance.randrange(1, 40))
    return bytes(changed)


def test_any_change_of_one_is_refused_or_leaves_a_worker_that_answers(
    tiny: AdaptableModel, tiny_model: Path, tmp_path: Path
) -> None:
    content, chance = lora_gguf(tmp_path / "a", TINY, rank=2), random.Random(7)
    with worker(tiny_model) as inference:
        first = inference.ready()
        taken = refused = 0
        for _ in range(600):
            changed = mutated(content, chance)
            try:
                tiny.check(changed)
            except AdapterRefused:
                refused += 1
                continue
            taken += 1
            assert answers_with(inference, changed)
        assert inference.ready() is first, "the worker was started again"
        assert taken > 20
        assert refused > 300


def answers_with(inference: Inference, content: bytes) -> bool:
    try:
        return bool(list(inference.generate([QUESTION], GREEDY, reserve=32, adapter=adapter(content))))
    except AdapterRefused:  # llama.cpp may refuse more than we do
        return True


def test_a_model_that_is_none_is_refused_as_such(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"GGUF" + bytes(30))
    with pytest.raises(ModelRefused):
        adaptable(tmp_path / "m")
