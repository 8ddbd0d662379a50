"""One adapter in three places: in training, in llama.cpp as GGUF, and in peft as a folder. They agree."""

import ctypes
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import peft
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from agent.models.adapter import AdaptableModel
from agent.worker.binding import llama
from fl_client.errors import TrainingFailed
from fl_client.training.base_model import BaseModel
from fl_client.training.factors import count
from fl_client.training.protocol import TARGETS, Kind, Recipe
from fl_client.training.trained import Trained, as_gguf, as_peft
from fl_client.training.worker.adapter import Adapter
from fl_client.training.worker.base import load
from fl_client.training.worker.decoder import Batch
from tests.fl_client.training.tiny import base_of

TOKENS = [1, *range(40, 100, 3)]
Logits = NDArray[np.float32]


class Made:
    """An adapter of random numbers, with all targets, and the logits that the training model has with it."""

    def __init__(self, kind: Kind, base: BaseModel) -> None:
        recipe = Recipe(kind, 4, 3.0, TARGETS, 1, 1, 1e-3, 64, b"seed".ljust(32))
        weights = load(base.path, base.sha256)
        targets = weights.targets(recipe.targets)
        assert targets == base.targets(recipe.targets)
        adapter = Adapter(
            recipe, targets, {target.name: weights.of(target.layer, target.kind) for target in targets}
        )
        random = np.random.default_rng(3)
        numbers = random.standard_normal(count(targets, recipe)).astype(np.float32) * (
            1.0 if kind == "ffa" else 5.0
        )
        with torch.no_grad():
            adapter.numbers.copy_(torch.from_numpy(numbers))
        decoder = weights.decoder(adapter.downs, torch.float32, recompute=False)
        every = torch.arange(len(TOKENS))
        batch = Batch(torch.tensor(TOKENS), [len(TOKENS)], every, every)
        with torch.no_grad():
            self.logits: Logits = decoder.logits(batch, adapter.ups(decoder.depth)).numpy()
        frozen = {name: (adapter.downs[name].numpy(), up.numpy()) for name, up in adapter.frozen_ups.items()}
        self.trained = Trained(base, recipe, numbers, frozen)


@pytest.fixture(scope="module", params=["ffa", "core"])
def made(request: pytest.FixtureRequest, tiny_model: Path) -> Made:
    return Made(request.param, base_of(tiny_model))


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Iterator[Any]:
    loaded = llama.llama_model_load_from_file(str(tiny_model).encode(), llama.llama_model_default_params())
    yield loaded
    llama.llama_model_free(loaded)


def logits_of_llama(model: object, adapter: Path | None) -> Logits:
    parameters = llama.llama_context_default_params()
    parameters.n_ctx, parameters.n_threads = 64, 1
    context = llama.llama_init_from_model(model, parameters)
    if adapter is not None:
        loaded = llama.llama_adapter_lora_init(model, str(adapter).encode())
        assert loaded
        adapters, scales = (llama.llama_adapter_lora_p_ctypes * 1)(loaded), (ctypes.c_float * 1)(1.0)
        assert llama.llama_set_adapters_lora(context, adapters, 1, scales) == 0
    rows = []
    for token in TOKENS:
        one = (llama.llama_token * 1)(token)
        assert llama.llama_decode(context, llama.llama_batch_get_one(one, 1)) == 0
        size = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
        rows.append(np.ctypeslib.as_array(llama.llama_get_logits_ith(context, -1), (size,)).copy())
    llama.llama_free(context)
    return np.stack(rows)


def test_llama_cpp_computes_with_the_gguf_what_training_computes(made: Made, model: object, tmp_path: Path) -> None:
    file = tmp_path / "adapter.gguf"
    file.write_bytes(as_gguf(made.trained))
    found = logits_of_llama(model, file)
    effect = float(np.abs(logits_of_llama(model, None) - made.logits).max())
    assert float(np.abs(found - made.logits).max()) < 1e-3 * effect


@pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning"
)  # peft asks transformers the old way
def test_peft_computes_with_the_folder_what_training_computes(made: Made, tiny_model: Path, tmp_path: Path) -> None:
    for name, content in as_peft(made.trained).items():
        (tmp_path / name).write_bytes(content)
    plain: Any = AutoModelForCausalLM.from_pretrained(
        tiny_model.parent, gguf_file=tiny_model.name, dtype=torch.float32
    )
    model = peft.PeftModel.from_pretrained(plain, tmp_path)
    with torch.no_grad():
        found = model(input_ids=torch.tensor([TOKENS])).logits[0].numpy()
    assert float(np.abs(found - made.logits).max()) < 1e-5 * float(np.abs(made.logits).max())


def test_the_file_is_one_that_the_assistant_takes(made: Made, tiny_model: Path) -> None:
    content = as_gguf(made.trained)
    with open(tiny_model, "rb") as file:
        AdaptableModel.read(file.fileno()).check(content)
    assert as_gguf(made.trained) == content


def test_factors_whose_product_is_beyond_all_measure_are_refused(made: Made) -> None:
    """Each number is one that a trainer may answer; what becomes of them no worker would take."""
    if made.trained.recipe.kind == "core":
        huge = made.trained._replace(
            numbers=np.full_like(made.trained.numbers, 5_000),
            frozen={name: (down, np.full_like(up, 5_000)) for name, (down, up) in made.trained.frozen.items()},
        )
        with pytest.raises(TrainingFailed):
            as_gguf(huge)
        with pytest.raises(TrainingFailed):
            as_peft(huge)


def test_the_file_says_what_it_is(made: Made, tmp_path: Path) -> None:
    file = tmp_path / "adapter.gguf"
    file.write_bytes(as_gguf(made.trained))
    reader = gguf.GGUFReader(file)
    said = {name: reader.fields[name].contents() for name in ("general.type", "adapter.type", "adapter.lora.alpha")}
    assert said == {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 12.0}
    recipe = json.loads(reader.fields["general.description"].contents())
    assert (recipe["kind"], recipe["seed"]) == (made.trained.recipe.kind, made.trained.recipe.seed.hex())
    assert {tensor.name for tensor in reader.tensors} == {
        f"blk.0.{kind}.weight.lora_{side}" for kind in TARGETS for side in "ab"
    }


def test_the_digest_of_an_adapter_says_nothing_of_where_it_was_made(made: Made) -> None:
    assert str(made.trained.base.path).encode() not in as_gguf(made.trained)
    assert all(str(made.trained.base.path.parent).encode() not in part for part in as_peft(made.trained).values())
    assert len(hashlib.sha256(as_gguf(made.trained)).hexdigest()) == 64
