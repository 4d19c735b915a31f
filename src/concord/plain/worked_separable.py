"""Separable convolution, step by step: each channel by itself (K x K), then each position by itself (1 x 1).

Source: L. Sifre, S. Mallat, "Rigid-motion scattering for texture classification", 2014, arXiv:1403.1687;
Merrikhi 2024, question 1, part 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from concord.plain.grids import Grid, Number, Position, Rows, Size, bounded, grid, shape, table
from concord.plain.worked_convolution import Convolved, convolved


@dataclass(frozen=True)
class Separable:
    """A separable convolution with every step: M channels in, N maps out."""

    depthwise: tuple[Convolved, ...]  # one for each channel
    weights: Grid  # pointwise: N rows of M numbers
    positions: tuple[tuple[Position, ...], ...]  # of each map; ``under`` is one number for each channel
    output: tuple[Grid, ...]


def separable(
    channels: Sequence[Rows],
    kernels: Sequence[Rows],
    pointwise: Rows,
    *,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
) -> Separable:
    """u[m] = x[m] * w[m], a convolution for each channel; then y[n] = sum_m v[n, m] u[m].

    Shape: M times (H, W), M times (K, K), (N, M) -> N times (H_out, W_out).
    Raises ValueError for channels of unequal size, another number of kernels than of channels, kernels that
    are not squares of one size, rows of ``pointwise`` of another length than M, and as ``convolved`` does.
    """
    _check(channels, kernels)
    depthwise = tuple(
        convolved(x, w, stride=stride, padding=padding, dilation=dilation)
        for x, w in zip(channels, kernels, strict=True)
    )
    weights = grid(pointwise, "the pointwise weights")
    if len(weights[0]) != len(depthwise):
        raise ValueError(
            f"rows of pointwise weights have length {len(weights[0])}, expected {len(depthwise)}: "
            "a weight for each channel"
        )
    maps = [step.output for step in depthwise]
    bounded(len(weights) * len(maps) * len(maps[0]) * len(maps[0][0]))
    positions = tuple(_mixed(maps, row) for row in weights)
    width = shape(maps[0])[1]
    return Separable(depthwise, weights, positions, tuple(table(steps, width) for steps in positions))


def _check(channels: Sequence[Rows], kernels: Sequence[Rows]) -> None:
    if not channels or len(channels) != len(kernels):
        raise ValueError(
            f"give one kernel for each channel: channels {len(channels)}, kernels {len(kernels)}"
        )
    sizes = {
        name: [shape(grid(rows, f"{name} {number}")) for number, rows in enumerate(grids, 1)]
        for name, grids in (("channel", channels), ("kernel", kernels))
    }
    for name, found in sizes.items():
        other = next((number for number, size in enumerate(found, 1) if size != found[0]), None)
        if other:
            first, second = found[0], found[other - 1]
            raise ValueError(
                f"{name} {other} is {second[0]}x{second[1]} and {name} 1 is {first[0]}x{first[1]}; "
                "all must have one size"
            )
    high, wide = sizes["kernel"][0]
    if high != wide:
        raise ValueError(f"the kernels of a separable convolution are square, got {high}x{wide}")


def _mixed(maps: Sequence[Grid], weights: Sequence[Number]) -> tuple[Position, ...]:
    """Every position of one map: the numbers of all channels there, weighted."""
    height, width = shape(maps[0])
    found = []
    for i in range(height):
        for j in range(width):
            here = tuple(channel[i][j] for channel in maps)
            value = sum(v * u for v, u in zip(weights, here, strict=True))
            found.append(Position(i, j, (here,), value))
    return tuple(found)
