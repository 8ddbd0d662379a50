"""The peer of `benchmarks/training.py`: peft and the Hugging Face `Trainer`, padded batches of 4, by itself.

Reads a JSON object from stdin and writes one to stdout; the same rows, steps, optimizer and learning rate as ours.
"""

import json
import math
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

__all__: list[str] = []

_IGNORED = -100
_PADDING = 2


class _Clock(TrainerCallback):
    """When the first step began, and the last one ended."""

    def __init__(self) -> None:
        self.began = self.ended = 0.0

    def on_step_begin(self, _args: object, state: Any, *_: object, **__: object) -> None:  # noqa: ANN401
        """Note the first."""
        if state.global_step == 0:
            self.began = time.monotonic()

    def on_step_end(self, *_: object, **__: object) -> None:
        """Note the last so far."""
        self.ended = time.monotonic()


def main() -> None:
    """Train and judge."""
    given = json.load(sys.stdin)
    torch.set_num_threads(given["threads"])
    path = Path(given["base"])
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    model.is_quantized = False  # the weights were dequantized as they were loaded; `Trainer` looks at this alone
    model.config.use_cache = False
    config = LoraConfig(
        r=given["rank"], lora_alpha=given["alpha"], target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
    )
    model = get_peft_model(model, config)
    if given["frozen_a"]:
        for name, parameter in model.named_parameters():
            if "lora_A" in name:
                parameter.requires_grad_(False)
    clock = _Clock()
    arguments = TrainingArguments(
        output_dir=given["folder"],
        per_device_train_batch_size=4,
        max_steps=given["steps"],
        learning_rate=given["learning_rate"],
        lr_scheduler_type="linear",
        weight_decay=0.0,
        max_grad_norm=1.0,
        save_strategy="no",
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=1,
    )
    before = _judge(model, given["held_out"])
    trainer = Trainer(
        model=model, args=arguments, train_dataset=given["rows"], data_collator=_padded, callbacks=[clock]
    )
    trainer.train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    result = {
        "tokens": sum(_SEEN),
        "seconds": clock.ended - clock.began,
        "peak_memory": peak,
        "before": before,
        "after": _judge(model, given["held_out"]),
        "losses": losses,
    }
    print("\n" + json.dumps(result))


_SEEN: list[int] = []
"""Tokens of each batch, padding left out."""


def _padded(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    longest = max(len(row["tokens"]) for row in rows)
    _SEEN.append(sum(len(row["tokens"]) for row in rows))
    tokens, labels, mask = [], [], []
    for row in rows:
        rest = longest - len(row["tokens"])
        tokens.append(row["tokens"] + [_PADDING] * rest)
        labels.append([_IGNORED] * row["answer"] + row["tokens"][row["answer"] :] + [_IGNORED] * rest)
        mask.append([1] * len(row["tokens"]) + [0] * rest)
    return {
        "input_ids": torch.tensor(tokens),
        "labels": torch.tensor(labels),
        "attention_mask": torch.tensor(mask),
    }


@torch.no_grad()
def _judge(model: torch.nn.Module, rows: list[dict[str, Any]]) -> float:
    """Nats for each token of the answers."""
    model.eval()
    total, count = 0.0, 0
    for row in rows:
        tokens = torch.tensor([row["tokens"]])
        logits = model(input_ids=tokens).logits[0, row["answer"] - 1 : -1]
        wanted = tokens[0, row["answer"] :]
        total += float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"))
        count += len(wanted)
    model.train()
    return total / count if count else math.nan


if __name__ == "__main__":
    main()
