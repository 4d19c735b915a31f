"""Sizes of a binary convolution, and words for its channels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from concord.errors import ShapeError

Pair = tuple[int, int]
PLACES = 1024  # as MAX_RUNS of kernel/tile.h
PRODUCTS = 1 << 24  # up to which sums of signs are exact in float32


@dataclass(frozen=True)
class Sizes:
    """What a layer is, whatever image it sees. ``ones``: padding counts as +1, else as 0."""

    channels: int
    filters: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    ones: bool = False

    def __post_init__(self) -> None:
        """ShapeError for what no layer has."""
        positive = (self.channels, self.filters, *self.kernel, *self.stride, *self.dilation, self.groups)
        if min(positive) < 1 or min(self.padding) < 0:
            raise ShapeError(f"sizes of a binary layer are at least 1, those of its padding 0; got {self}")
        if self.channels % self.groups or self.filters % self.groups:
            raise ShapeError(
                f"channels and filters are multiples of the groups; got {self.channels} and {self.filters}"
                f" for {self.groups} groups"
            )
        places = self.kernel[0] * self.kernel[1]
        if places > PLACES or places * self.channels // self.groups > PRODUCTS:
            raise ShapeError(
                f"a binary kernel has at most {PLACES:,} places and {PRODUCTS:,} weights per filter; got"
                f" {self.kernel} for {self.channels // self.groups:,} channels"
            )

    def flat(self) -> list[int]:
        """As integers, the form in which operators of torch take it."""
        pairs = (self.kernel, self.stride, self.padding, self.dilation)
        return [
            self.channels,
            self.filters,
            *(n for pair in pairs for n in pair),
            self.groups,
            int(self.ones),
        ]

    @classmethod
    def of(cls, flat: Sequence[int]) -> Self:
        """The reverse of ``flat``. ShapeError for another number of integers."""
        if len(flat) != 12:
            raise ShapeError(f"sizes of a binary layer are 12 integers, as Sizes.flat gives; got {[*flat]}")
        c, o, kh, kw, sy, sx, py, px, dy, dx, groups, ones = flat
        return cls(c, o, (kh, kw), (sy, sx), (py, px), (dy, dx), groups, bool(ones))

    @property
    def words(self) -> int:
        """Words of 64 channels in a group of a pixel."""
        return -(-(self.channels // self.groups) // 64)

    def output(self, height: int, width: int) -> Pair:
        """Height and width of the output. ShapeError where the kernel is larger than the padded image."""
        if height < 1 or width < 1:
            raise ShapeError(f"an image has at least one pixel, got {height}x{width}")
        made = []
        for size, k, s, p, d in zip(
            (height, width), self.kernel, self.stride, self.padding, self.dilation, strict=True
        ):
            room = size + 2 * p - d * (k - 1) - 1
            if room < 0:
                raise ShapeError(
                    f"an image of {height}x{width} with padding {self.padding} is smaller than a kernel of"
                    f" {self.kernel} with dilation {self.dilation}"
                )
            made.append(room // s + 1)
        return made[0], made[1]
