"""YOLO v1, v2 and v3 on one small backbone, which a CPU trains in minutes.

Sources: J. Redmon, S. Divvala, R. Girshick, A. Farhadi, "You Only Look Once", 2015, arXiv:1506.02640;
J. Redmon, A. Farhadi, "YOLO9000", 2016, arXiv:1612.08242; "YOLOv3", 2018, arXiv:1804.02767. The backbone
follows the tiny networks published with them: 3x3 convolutions and 2x2 pooling, twice as wide after each.

Departures from the papers: the networks are concord's own, so that the three versions can be compared with
the same layers and nearly the same number of parameters.
  * Four poolings instead of five: the coarsest stride is 16, so pictures of 240x320 keep 15x20 places.
  * v1 takes pictures of any size. Its last map is resampled to 2S x 2S, a convolution of stride 2 makes S x S
    cells of it, as in the paper, and a 1x1 convolution gives what each cell says: the two dense layers of the
    paper would need eight million parameters, and would have to learn every cell by itself.
  * v2 has no passthrough, as the published tiny network. v3 has two scales, of strides 16 and 8.
  * Running statistics move by 10 % of each batch instead of 1 %, because the training is short.
  * Anchors are squares until ``with_anchors`` replaces them by those of the data.
"""

from torch import Tensor, cat, nn
from torch.nn.functional import interpolate

from concord.errors import UsageError
from concord.layers.darknet import convolution
from concord.layers.start import he_start
from concord.zoo.detector import Detector, by_size, in_order, squares
from concord.zoo.registry import register

MOMENTUM = 0.1
BACKBONE = "on concord's small backbone"


def conv(c_in: int, c_out: int, size: int, stride: int = 1) -> nn.Module:
    return convolution(c_in, c_out, size, stride, momentum=MOMENTUM)


class Backbone(nn.Module):
    """Convolutions of w, 2w, 4w and 8w filters, each before a pooling, one of 16w, and a 1x1 of 8w.

    Shape: (B, C, H, W) -> (B, 8w, H/8, W/8) and (B, 8w, H/16, W/16)
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        widths = [channels, *(width * 2**i for i in range(4))]
        self.fine = nn.Sequential()
        for i in range(4):
            self.fine.extend([conv(widths[i], widths[i + 1], 3), nn.MaxPool2d(2)])
        self.fine.pop(-1)
        self.coarse = nn.Sequential(
            nn.MaxPool2d(2), conv(8 * width, 16 * width, 3), conv(16 * width, 8 * width, 1)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine(x)
        return fine, self.coarse(fine)


class SmallYolo(Detector):
    """The backbone, a 3x3 convolution of 16w filters, and a 1x1 convolution as the head.

    Version 1 has ``boxes`` in each of ``cells`` x ``cells`` cells, version 2 as many anchors at stride 16.
    Version 3 has a second head at stride 8: the coarse map, halved in width and doubled in size, joins the
    fine one, and a 3x3 convolution of 8w filters follows.

    Shape: (B, C, H, W) -> the raw output of the version, see ``zoo.detector``; H and W are multiples of 16,
    for version 1 any from 16 on
    """

    def __init__(
        self, version: int, channels: int, classes: int, *, width: int, boxes: int, cells: int = 0
    ) -> None:
        strides = {1: (), 2: (16,), 3: (16, 8)}[version]
        super().__init__(
            version,
            channels,
            classes,
            boxes=boxes,
            cells=cells,
            strides=strides,
            anchors=by_size(squares(boxes * len(strides)), len(strides)),
        )
        if width < 1:
            raise UsageError(f"width must be at least 1, got {width}")
        self.backbone = Backbone(channels, width)
        self.last = conv(8 * width, 16 * width, 3, 2 if version == 1 else 1)
        self.head = nn.Conv2d(16 * width, self.per_map, 1)
        if version == 3:
            self.up = nn.Sequential(conv(8 * width, 4 * width, 1), nn.Upsample(scale_factor=2))
            self.last_fine = conv(12 * width, 8 * width, 3)
            self.head_fine = nn.Conv2d(8 * width, self.per_map, 1)
        he_start(self)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        self.require(x, smallest=16)
        fine, coarse = self.backbone(x)
        if self.version == 1:
            grid = interpolate(coarse, (2 * self.cells,) * 2, mode="bilinear")  # (B, 8w, 2S, 2S)
            return in_order(self.head(self.last(grid)), self.classes, self.boxes)
        output = self.head(self.last(coarse))
        if self.version == 2:
            return output
        joined = cat([self.up(coarse), fine], 1)  # (B, 12w, H/8, W/8)
        return output, self.head_fine(self.last_fine(joined))


@register(
    example=(3, 240, 320),
    parameters=724_893,
    source=f"Redmon, Divvala, Girshick, Farhadi 2015: YOLO v1, {BACKBONE}",
)
def yolo_small_v1(
    channels: int = 3, classes: int = 3, *, width: int = 16, cells: int = 7, boxes: int = 2
) -> Detector:
    """Boxes directly from the cells of a grid, one class for each cell.

    Parameters: backbone and last convolution 721,552, head 3,341.
    """
    return SmallYolo(1, channels, classes, width=width, cells=cells, boxes=boxes)


@register(example=(3, 240, 320), parameters=731_832, source=f"Redmon, Farhadi 2016: YOLO v2, {BACKBONE}")
def yolo_small_v2(channels: int = 3, classes: int = 3, *, width: int = 16, boxes: int = 5) -> Detector:
    """Boxes relative to anchors, one softmax over the classes for each.

    Parameters: backbone and last convolution 721,552, head 10,280.
    """
    return SmallYolo(2, channels, classes, width=width, boxes=boxes)


@register(example=(3, 240, 320), parameters=960_576, source=f"Redmon, Farhadi 2018: YOLO v3, {BACKBONE}")
def yolo_small_v3(channels: int = 3, classes: int = 3, *, width: int = 16, boxes: int = 3) -> Detector:
    """Boxes relative to anchors on two scales, each class by itself.

    Parameters: backbone and last convolution 721,552, 1x1 to the finer scale 8,320, its convolution 221,440,
    heads 6,168 + 3,096.
    """
    return SmallYolo(3, channels, classes, width=width, boxes=boxes)
