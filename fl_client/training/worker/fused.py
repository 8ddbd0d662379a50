"""Operations of a decoder with frozen weights, each with its gradient by hand.

Nothing is kept for weights that aren't trained, and less is written to memory than autograd would.

Shapes: T tokens, D the hidden width, r the rank of an adapter.
"""

import itertools
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

__all__ = ["adapted", "attention", "cross_entropy", "rms_norm", "swiglu"]

_LOGITS_AT_ONCE = 1 << 23
"""Logits that exist at a time; those of the next positions are made when these are done with."""


class _RmsNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:  # noqa: ANN401
        scale: Tensor = (
            torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        )
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        (gradient,) = gradients
        x, weight, scale = ctx.saved_tensors
        weighted = gradient * weight
        along = torch.linalg.vecdot(weighted, x).unsqueeze(-1)
        along.mul_(scale.pow(3)).div_(x.shape[-1])
        return weighted.mul_(scale).addcmul_(x, along, value=-1), None, None


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Root-mean-square normalization (Zhang, Sennrich 2019), over the last dimension; `x` float32."""
    made: Tensor = _RmsNorm.apply(x, weight, epsilon)
    return made


class _Swiglu(Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, -1)
        activated: Tensor = torch.nn.functional.silu(gate)
        return activated.mul_(up)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401
        (gradient,) = gradients
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, -1)
        made = torch.empty_like(gate_up)
        of_gate, of_up = made.chunk(2, -1)
        torch.mul(torch.nn.functional.silu(gate), gradient, out=of_up)
        of_gate.copy_(torch.ops.aten.silu_backward(gradient * up, gate))
        return made


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate)·up (Shazeer 2020), of the two side by side in the last dimension."""
    made: Tensor = _Swiglu.apply(gate_up)
    return made


class _Attention(Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        qkv: Tensor,
        cosine: Tensor,
        sine: Tensor,
        heads: int,
        lengths: list[int],
    ) -> Tensor:
        tokens, size = len(qkv), 2 * cosine.shape[-1]
        kv_heads = (qkv.shape[1] // size - heads) // 2
        by_head = qkv.view(tokens, -1, size)
        turned = _rotated(by_head[:, : heads + kv_heads], cosine, sine)
        # One group of queries for each head of keys, so that these needn't be copied for every query.
        queries = turned[:, :heads].reshape(tokens, kv_heads, -1, size)
        keys = turned[:, heads:].unsqueeze(2).expand_as(queries)
        values = by_head[:, heads + kv_heads :].unsqueeze(2).expand_as(queries)
        made = torch.empty_like(queries)
        kept = []
        for part in _parts(lengths):
            of_row = (_heads_first(each[part]) for each in (queries, keys, values))
            seen, weight = _flash(*of_row, 0.0, True)
            made[part] = seen.permute(2, 0, 1, 3)
            kept.append(weight)
        ctx.save_for_backward(queries, keys, values, made, cosine, sine, *kept)
        ctx.lengths = lengths
        return made.flatten(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        queries, keys, values, made, cosine, sine, *kept = ctx.saved_tensors
        tokens, kv_heads, repeats, size = queries.shape
        heads = kv_heads * repeats
        gradient = gradients[0].view_as(queries)
        of_turned = queries.new_empty(tokens, heads + kv_heads, size)
        of_qkv = queries.new_empty(tokens, heads + 2 * kv_heads, size)
        for part, weight in zip(_parts(ctx.lengths), kept, strict=True):
            of_row = [_heads_first(each[part]) for each in (gradient, queries, keys, values, made)]
            of_queries, of_keys, of_values = _flash_backward(*of_row, weight, 0.0, True)
            of_turned[part, :heads] = of_queries.permute(2, 0, 1, 3).flatten(1, 2)
            of_turned[part, heads:] = of_keys.sum(1).transpose(0, 1)
            of_qkv[part, heads + kv_heads :] = of_values.sum(1).transpose(0, 1)
        of_qkv[:, : heads + kv_heads] = _rotated(of_turned, cosine, -sine)
        return of_qkv.flatten(1), None, None, None, None


_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def _parts(lengths: list[int]) -> list[slice]:
    ends = list(itertools.accumulate(lengths))
    return [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]


def _heads_first(rows: Tensor) -> Tensor:
    """From (tokens, kv heads, repeats, size) to (kv heads, repeats, tokens, size)."""
    return rows.permute(1, 2, 0, 3)


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    made = torch.empty_like(x)
    one, other = made.chunk(2, -1)
    torch.mul(first, cosine, out=one)
    one.addcmul_(second, sine, value=-1)
    torch.mul(second, cosine, out=other)
    other.addcmul_(first, sine)
    return made


def attention(qkv: Tensor, cosine: Tensor, sine: Tensor, heads: int, lengths: list[int]) -> Tensor:
    """Causal attention within each row, positions rotated into queries and keys before (Su et al. 2021).

    By torch's kernel for processors (FlashAttention, Dao et al. 2022). Each half of a head's numbers is one
    coordinate of the pairs that are rotated.

    Args:
        qkv: Queries, keys and values of each token side by side, shape (T, (heads + 2 · kv heads) · size).
        cosine: Of each position's angles, shape (T, 1, size / 2), in the type of `qkv`.
        sine: The same.
        heads: Of queries.
        lengths: Of each row; together T.

    Returns:
        Shape (T, heads · size).
    """
    made: Tensor = _Attention.apply(qkv, cosine, sine, heads, lengths)
    return made


class _Adapted(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, sizes: list[int], *ups: Tensor | None) -> Tensor:  # noqa: ANN401
        wide = torch.nn.functional.linear(x, weight)
        made, inner = wide.split([sum(sizes), wide.shape[-1] - sum(sizes)], -1)
        made = made.contiguous()
        inner = inner.contiguous()
        column = start = 0
        for size, up in zip(sizes, ups, strict=True):
            if up is not None:
                part = inner[:, start : start + up.shape[1]]
                made[:, column : column + size] += part @ up.to(x.dtype).T
                start += up.shape[1]
            column += size
        ctx.sizes = sizes
        ctx.save_for_backward(weight, inner, *(up for up in ups if up is not None))
        ctx.adapted = [up is not None for up in ups]
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        (gradient,) = gradients
        weight, inner, *kept = ctx.saved_tensors
        ups = iter(kept)
        of_ups: list[Tensor | None] = []
        of_inner = torch.empty_like(inner)
        column = start = 0
        for size, is_adapted in zip(ctx.sizes, ctx.adapted, strict=True):
            if is_adapted:
                up = next(ups)
                part = gradient[:, column : column + size]
                end = start + up.shape[1]
                of_ups.append((part.T @ inner[:, start:end]).to(up.dtype))
                torch.matmul(part, up.to(part.dtype), out=of_inner[:, start:end])
                start = end
            else:
                of_ups.append(None)
            column += size
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = torch.addmm(gradient @ weight[:column], of_inner, weight[column:])
        return of_x, None, None, *of_ups


def adapted(x: Tensor, weight: Tensor, sizes: list[int], ups: list[Tensor | None]) -> Tensor:
    """Several linear maps of one input at once, some with a low-rank addition: W·x + U·(A·x).

    Args:
        x: Shape (T, in).
        weight: All W one below the other, and below them the A of those that have an addition; frozen. Shape
            (sum of sizes and ranks, in).
        sizes: How many outputs each map has.
        ups: The U of each, shape (size, r), the scale in it; `None` for one without an addition.

    Returns:
        Shape (T, sum of sizes).
    """
    if all(up is None for up in ups):
        return torch.nn.functional.linear(x, weight)  # which keeps nothing for a frozen weight
    made: Tensor = _Adapted.apply(x, weight, sizes, *ups)
    return made


class _CrossEntropy(Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, wanted: Tensor) -> Tensor:  # noqa: ANN401
        chunk = max(1, _LOGITS_AT_ONCE // len(weight))
        loss = hidden.new_zeros((), dtype=torch.float32)
        of_hidden = torch.empty_like(hidden)
        for start in range(0, len(wanted), chunk):
            part = slice(start, start + chunk)
            logits = torch.nn.functional.linear(hidden[part], weight).float()
            right = wanted[part].unsqueeze(1)
            logits -= logits.amax(1, keepdim=True)
            of_right = logits.gather(1, right)
            likely = logits.exp_()
            total = likely.sum(1, keepdim=True)
            loss += (total.log() - of_right).sum()
            if ctx.needs_input_grad[0]:
                likely /= total
                likely.scatter_add_(1, right, likely.new_full(right.shape, -1.0))
                of_hidden[part] = likely.to(weight.dtype) @ weight
        ctx.save_for_backward(of_hidden)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        (of_hidden,) = ctx.saved_tensors
        return of_hidden * gradients[0], None, None


def cross_entropy(hidden: Tensor, weight: Tensor, wanted: Tensor) -> Tensor:
    """The sum of -log p of what was wanted, without keeping any logits: their gradient is taken on the way.

    Args:
        hidden: Shape (answers, D).
        weight: Of the output layer, frozen; shape (vocabulary, D).
        wanted: Token ids, shape (answers,).
    """
    made: Tensor = _CrossEntropy.apply(hidden, weight, wanted)
    return made
