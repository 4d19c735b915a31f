"""U-Net: a class for every pixel, from a contracting path, an expanding path and skips between them.

Source: O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015, arXiv:1505.04597, section 2 and figure 1.

What the paper leaves open is settled here:
  * Dropout "at the end of the contracting path" drops half of the numbers behind its last two levels, as in
    the released network; what goes over the skip is dropped too.
  * He's start (section 3) counts for an up-convolution what one of its outputs reads: one pixel of each map.
Departures, all by choice: padding that keeps the size, batch normalisation, no skips, other depths and
widths. The released network has a ReLU behind its up-convolutions, of which the paper does not speak.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from concord.errors import UsageError
from concord.layers.pictures import require_pictures
from concord.layers.start import he_start
from concord.layers.tiles import Grid
from concord.zoo.registry import register

DROPPED = 2  # levels at the end of the contracting path
DEEPEST = 12  # of pictures of 65,536 pixels a side


class UNet(nn.Module):
    """``depth`` times two convolutions and a pooling, two convolutions, and the same way back up.

        d_0 = pair(x), d_i = pair(pool(d_{i-1})); u_D = d_D, u_{i-1} = pair([crop(d_{i-1}), up(u_i)])

    Level i has width 2^i F. Without skips the pairs of the way up read the F 2^i maps of ``up`` alone, in
    place of twice as many. ``same`` pads the convolutions, so that input and output have one size; ``grid``
    says which sizes fit, and how much smaller the output is without padding.

    Shape: (B, C, H, W) -> (B, K, H - 2 margin, W - 2 margin) logits; ShapeError for sizes that do not fit
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        width: int = 64,
        depth: int = 4,
        same: bool = False,
        norm: bool = False,
        skips: bool = True,
        dropout: int = 50,
    ) -> None:
        if min(channels, classes, width, depth) < 1:
            raise UsageError("channels, classes, width and depth must be at least 1")
        if depth > DEEPEST:
            raise UsageError(f"depth must be at most {DEEPEST}, each level halves the sides, got {depth}")
        if not 0 <= dropout < 100:
            raise UsageError(f"dropout is a percentage from 0 to 99, got {dropout}")
        super().__init__()
        self.channels, self.skips, self.grid = channels, skips, grid_of(depth, same=same)
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            pair(c_in, c_out, same=same, norm=norm)
            for c_in, c_out in zip([channels, *widths], widths, strict=False)
        )
        self.drop = nn.Dropout(dropout / 100)
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths[-2::-1])
        self.merge = nn.ModuleList(
            pair(2 * w if skips else w, w, same=same, norm=norm) for w in widths[-2::-1]
        )
        self.head = nn.Conv2d(width, classes, 1)
        he_start(self)

    def forward(self, x: Tensor) -> Tensor:
        require_pictures(x, self.channels)
        self.grid.require(x)
        levels: list[Tensor] = []
        for i, pair_ in enumerate(self.down):
            x = pair_(F.max_pool2d(x, 2) if i else x)
            if i > len(self.up) - DROPPED:
                x = self.drop(x)
            levels.append(x)
        for up, merge in zip(self.up, self.merge, strict=True):
            levels.pop()
            x = up(x)
            if self.skips:
                skip = cropped(levels[-1], x) if self.grid.margin else levels[-1]
                x = torch.cat([skip, x], 1)
            x = merge(x)
        return self.head(x)


def grid_of(depth: int, *, same: bool) -> Grid:
    """Sizes and borders, with P = 2^depth.

    Valid convolutions take 4 pixels from a map at every level on the way down and on the way up, 2^i pixels
    of the input for each pixel of level i: 2 (6 P - 4) in all. Every pooling needs an even map: P k - 4.
    Padded ones take multiples of P, and an output sees at most 7 P - 5 pixels away, here rounded up to 7 P
    or, as depth 1 needs, the next multiple.
    """
    pooled = 2**depth
    if not same:
        return Grid(pooled, rest=-4 % pooled, margin=6 * pooled - 4)
    return Grid(pooled, overlap=pooled * -(-(7 * pooled - 5) // pooled))


def pair(c_in: int, c_out: int, *, same: bool, norm: bool) -> nn.Sequential:
    """Two convolutions of 3x3, each with a ReLU behind it, or with batch normalisation and a ReLU."""
    layers: list[nn.Module] = []
    for c in (c_in, c_out):
        layers.append(nn.Conv2d(c, c_out, 3, padding=int(same), bias=not norm))
        layers += [nn.BatchNorm2d(c_out)] if norm else []
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def cropped(x: Tensor, to: Tensor) -> Tensor:
    """The middle of x, as large as another map. Shape: (B, C, H, W) -> (B, C, H', W')"""
    top, left = ((a - b) // 2 for a, b in zip(x.shape[2:], to.shape[2:], strict=True))
    return x[:, :, top : top + to.shape[2], left : left + to.shape[3]]


SIDE = 572  # of figure 1
SIDE_SAME = 512  # of the pictures of section 3.1


def usual_side(sizes: Mapping[str, int]) -> int:
    """A side that the network takes in these sizes: that of the paper where it fits."""
    same = bool(sizes["same"])
    return grid_of(sizes["depth"], same=same).fitting(SIDE_SAME if same else SIDE)


@register(
    example=(1, SIDE, SIDE),
    parameters=31_030_658,
    source="Ronneberger et al. 2015, figure 1",
    side=usual_side,
)
def unet(
    channels: int = 1,
    classes: int = 2,
    *,
    width: int = 64,
    depth: int = 4,
    same: int = 0,
    norm: int = 0,
    skips: int = 1,
    dropout: int = 50,
) -> nn.Module:
    """``same=1``: padding keeps the size. ``norm=1``: batch normalisation. ``skips=0``: none.

    ``dropout`` is in percent.

    Parameters: down 37,568 + 221,440 + 885,248 + 3,539,968 + 14,157,824, up-convolutions 2,097,664 + 524,544
    + 131,200 + 32,832, merging 7,078,912 + 1,769,984 + 442,624 + 110,720, head 130. Padding adds none.
    """
    for name, flag in (("same", same), ("norm", norm), ("skips", skips)):
        if flag not in (0, 1):
            raise UsageError(f"{name} is 0 or 1, got {flag}")
    return UNet(
        channels,
        classes,
        width=width,
        depth=depth,
        same=bool(same),
        norm=bool(norm),
        skips=bool(skips),
        dropout=dropout,
    )
