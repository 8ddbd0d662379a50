"""Operations of a decoder with frozen weights, each with its gradient by hand.

Nothing is kept for weights that aren't trained, and less is written to memory than autograd would.

Shapes: T tokens, D the hidden width, r the rank of an adapter.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

__all__ = ["adapted", "cross_entropy", "rms_norm", "rotate", "swiglu"]

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


class _Rotate(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(cosine, sine)
        return _rotated(x, cosine, sine)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        cosine, sine = ctx.saved_tensors
        return _rotated(gradients[0], cosine, -sine), None, None


def _rotated(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    made = torch.empty_like(x)
    one, other = made.chunk(2, -1)
    torch.mul(first, cosine, out=one)
    one.addcmul_(second, sine, value=-1)
    torch.mul(second, cosine, out=other)
    other.addcmul_(first, sine)
    return made


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary position embedding (Su et al. 2021), each half of a head's numbers being one coordinate of the pairs.

    Args:
        x: Shape (T, heads, size).
        cosine: Of each position's angles, shape (T, 1, size / 2), in the type of `x`.
        sine: The same.
    """
    made: Tensor = _Rotate.apply(x, cosine, sine)
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
        of_x = torch.cat((gradient, of_inner), -1) @ weight if ctx.needs_input_grad[0] else None
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
