"""Layers that compute M members at once. The samples of member m are rows m B to (m + 1) B - 1.

Sources: Y. Wen, D. Tran, J. Ba, "BatchEnsemble", ICLR 2020, arXiv:2002.06715, section 3.1 (``RankOne``);
O. Laurent et al., "Packed-Ensembles for Efficient Uncertainty Estimation", ICLR 2023, arXiv:2210.09184,
section 4.1 (groups of channels as members).
"""

import torch
from torch import Tensor, nn

from concord.errors import ShapeError, UsageError

LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # linear in each channel of their input


class RankOne(nn.Module):
    """A dense layer or a convolution that M members share but for two vectors and a bias of each.

        y = s_m * W(r_m * x) + b_m

    Member m has the weights W * (s_m r_m^T): W has one kernel for every pair of an output and an input
    channel, and s_m,o r_m,i scales it. r and s start as random signs, all b_m as the bias of the layer, which
    becomes part of this one. Weight decay leaves all three alone.

    Shape: (M B, C_in, ...) -> (M B, C_out, ...); channels are the last axis of a dense layer
    """

    undecayed = ("r", "s", "bias")

    def __init__(self, layer: nn.Module, members: int) -> None:
        if type(layer) not in LINEAR or members < 1:
            names = ", ".join(kind.__name__ for kind in LINEAR)
            raise UsageError(
                f"expected a layer ({names}) and at least 1 member, got {type(layer).__name__} and {members}"
            )
        super().__init__()
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, Tensor)
        dense = isinstance(layer, nn.Linear)
        c_in = layer.in_features if dense else layer.in_channels
        self.shared, self.members = layer, members
        self.after = 0 if dense else weight.ndim - 2  # axes behind the channels
        self.r = nn.Parameter(_signs(members, int(c_in)).to(weight))  # type: ignore[arg-type]
        self.s = nn.Parameter(_signs(members, len(weight)).to(weight))
        self.bias = None if bias is None else nn.Parameter(bias.detach().repeat(members, 1))  # type: ignore[operator]
        layer.register_parameter("bias", None)

    def forward(self, x: Tensor) -> Tensor:
        y = self.shared(self._times(x, self.r)).unflatten(0, (self.members, -1))
        y = y * self._shaped(self.s, y)
        return (y if self.bias is None else y + self._shaped(self.bias, y)).flatten(0, 1)

    def _times(self, x: Tensor, vectors: Tensor) -> Tensor:
        each = split(x, self.members)  # (M, B, C, ...)
        return (each * self._shaped(vectors, each)).flatten(0, 1)

    def _shaped(self, vectors: Tensor, x: Tensor) -> Tensor:
        """(M, C) -> (M, 1, C, 1, ...), or (M, 1, ..., C) of a dense layer."""
        channel = x.ndim - 1 - self.after
        return vectors.view(len(vectors), *[1] * (channel - 1), -1, *[1] * self.after)


def _signs(members: int, channels: int) -> Tensor:
    return 2.0 * torch.randint(2, (members, channels)) - 1.0


class Folded(nn.Module):
    """A layer over M C channels, of which C in a row are those of one member.

    A convolution with at least M groups, or a normalisation of each channel, treats members as M layers of
    their own do.

    Shape: (M B, C, ...) -> (B, M C, ...) -> the layer -> (B, M C', ...) -> (M B, C', ...)
    """

    def __init__(self, layer: nn.Module, members: int) -> None:
        super().__init__()
        self.layer, self.members = layer, members

    def forward(self, x: Tensor) -> Tensor:
        wide = split(x, self.members).transpose(0, 1).flatten(1, 2)
        return self.layer(wide).unflatten(1, (self.members, -1)).transpose(0, 1).flatten(0, 1)


class GroupedLinear(nn.Module):
    """A dense layer of each of M members: y = W_m x + b_m.

    ``weight`` is (M C_out, C_in), ``bias`` (M C_out,) or None: those of the members one below the other.

    Shape: (M B, ..., C_in) -> (M B, ..., C_out)
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, members: int) -> None:
        super().__init__()
        self.weight, self.members = nn.Parameter(weight), members
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        each, weight = split(x, self.members), split(self.weight, self.members)
        y = each.flatten(1, -2) @ weight.transpose(1, 2)  # (M, B ..., C_out)
        y = y if self.bias is None else y + split(self.bias, self.members)[:, None]
        return y.view(*each.shape[:-1], y.shape[-1]).flatten(0, 1)


def split(x: Tensor, members: int) -> Tensor:
    """(M B, ...) -> (M, B, ...); ShapeError unless every member has as many samples."""
    if not x.ndim or x.shape[0] % members:  # len(x) would be a constant in what is exported
        raise ShapeError(f"expected the samples of {members} members, got a tensor of shape {tuple(x.shape)}")
    return x.unflatten(0, (members, -1))
