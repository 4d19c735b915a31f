"""Members of one architecture in one pass, over their parameters stacked along a new first axis.

The members stay whole: each keeps its parameters, which receive their gradients through the stack, and its
running statistics, which are put back after the pass. So optimiser, clipping, checkpoints and export do not
know of it. Rounding differs from a pass for each member, because a batched kernel adds up in another order.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

Inputs = tuple[Tensor, ...]


def outputs(members: Sequence[nn.Module], inputs: Sequence[Inputs]) -> tuple[Tensor, ...]:
    """f_i(x_i) for all members at once, where f_i are one architecture with parameters of its own each.

    ``inputs`` are one tuple for all members or one for each. The mode is that of the first member. Raises
    RuntimeError for a member that draws random numbers, as dropout does: in one pass its draws would depend
    on who stands beside it.

    Shape: M times (B, C, H, W) -> M times (B, K)
    """
    first = members[0]
    parameters = _stack([dict(member.named_parameters()) for member in members])
    buffers = _stack([dict(member.named_buffers()) for member in members])
    shared = len(inputs) == 1
    x = inputs[0] if shared else tuple(torch.stack(parts) for parts in zip(*inputs, strict=True))

    def one(own: dict[str, Tensor], running: dict[str, Tensor], given: Inputs) -> Tensor:
        return functional_call(first, (own, running), given)

    outputs = vmap(one, in_dims=(0, 0, None if shared else 0), randomness="error")(parameters, buffers, x)
    _put_back(members, buffers)
    return outputs.unbind()


def _stack(named: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([own[name] for own in named]) for name in named[0]}


@torch.no_grad()
def _put_back(members: Sequence[nn.Module], buffers: dict[str, Tensor]) -> None:
    """What the pass made of the running statistics, to whom they belong."""
    for i, member in enumerate(members):
        for name, buffer in member.named_buffers():
            buffer.copy_(buffers[name][i])
