"""A GGUF model of 0.3 MB that llama.cpp really loads and runs: one layer, random weights, a vocabulary of bytes."""

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np

__all__ = ["TINY_CONTEXT", "TINY_TEMPLATE", "tiny_gguf"]

TINY_CONTEXT = 512
TINY_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)

_WIDTH, _HEADS, _FEED_FORWARD = 64, 4, 128
_TOKENS = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
_KINDS = [2, 3, 3, *([6] * 256)]  # unknown, control, control, bytes


def tiny_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    seed: int = 1,
    name: str = "Tiny",
    licence: str | None = "apache-2.0",
    template: str | None = TINY_TEMPLATE,
    quantized: bool = False,
    head_size: int | None = None,
    context: int = TINY_CONTEXT,
    tool_template: str | None = None,
    more_tokens: Mapping[str, int] | None = None,
    eager: str = "",
) -> Path:
    """Write the model.

    Args:
        path: Where.
        architecture: What it calls its architecture; llama.cpp loads `llama` alone.
        seed: Of its weights: two seeds, two digests.
        name: What it calls itself.
        licence: Its licence; `None` leaves it out.
        template: Its chat template; `None` leaves it out.
        quantized: Whether the matrices are Q8_0 instead of F32.
        head_size: Of keys and values, stated in the file; `None` leaves it to the width and the number of heads.
        context: Its window, in tokens.
        tool_template: Its chat template for conversations with tools, if it has a separate one.
        more_tokens: Tokens beside the bytes, by their texts, with their kinds (`gguf.TokenType`).
        eager: One of these, that it always likes best.
    """
    tokens = [*_TOKENS, *(more_tokens or {})]
    kinds = [*_KINDS, *(more_tokens or {}).values()]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    if licence is not None:
        writer.add_license(licence)
    writer.add_file_type(7 if quantized else 0)
    writer.add_context_length(context)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(head_size or _WIDTH // _HEADS)
    if head_size is not None:
        writer.add_key_length(head_size)
        writer.add_value_length(head_size)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if template is not None and tool_template is not None:
        both = {"default": template, "tool_use": tool_template}
        writer.add_chat_template([{"name": name, "template": source} for name, source in both.items()])
    elif template is not None:
        writer.add_chat_template(template)
    random = np.random.default_rng(seed)
    queries = _HEADS * head_size if head_size is not None else _WIDTH
    half = queries // 2  # two heads of keys and values serve four of queries
    shapes = {
        "token_embd.weight": (len(tokens), _WIDTH),
        **({"output.weight": (len(tokens), _WIDTH)} if eager else {}),
        "output_norm.weight": (_WIDTH,),
        "blk.0.attn_norm.weight": (_WIDTH,),
        "blk.0.attn_q.weight": (queries, _WIDTH),
        "blk.0.attn_k.weight": (half, _WIDTH),
        "blk.0.attn_v.weight": (half, _WIDTH),
        "blk.0.attn_output.weight": (_WIDTH, queries),
        "blk.0.ffn_norm.weight": (_WIDTH,),
        "blk.0.ffn_gate.weight": (_FEED_FORWARD, _WIDTH),
        "blk.0.ffn_up.weight": (_FEED_FORWARD, _WIDTH),
        "blk.0.ffn_down.weight": (_WIDTH, _FEED_FORWARD),
    }
    for tensor, shape in shapes.items():
        weights = (random.standard_normal(shape) * 0.05).astype(np.float32)
        if eager and tensor == "token_embd.weight":  # a direction that every token has a little of, and one a lot
            weights[:, 0] = 0.2
        if eager and tensor == "output_norm.weight":
            weights[:] = 1
        if eager and tensor == "output.weight":
            weights[tokens.index(eager), 0] = 20
        if quantized and len(shape) == 2:
            packed = gguf.quants.quantize(weights, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(tensor, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(tensor, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
