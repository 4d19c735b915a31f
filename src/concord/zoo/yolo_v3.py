"""YOLO v3 and its tiny form, and Darknet-53, the classifier on which it is built.

Source: J. Redmon, A. Farhadi, "YOLOv3: An Incremental Improvement", 2018, arXiv:1804.02767, sections 2.3,
2.4 and table 1. The layers are those of darknet53.cfg, yolov3.cfg and yolov3-tiny.cfg, in darknet's order, so
that the published weights fit.

Departures from them: none in the networks. Anchors are the published ones for COCO, in pixels at 416x416;
``with_anchors`` takes those of other data.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor, cat, nn

from concord.errors import UsageError
from concord.layers.darknet import MaxPool, convolution, groups
from concord.layers.pictures import require_pictures
from concord.layers.start import he_start
from concord.zoo.detector import Anchor, Detector, by_size
from concord.zoo.registry import register

UNITS = (1, 2, 8, 8, 4)  # residual units after each halving of the map
TINY = ((16,), (32,), (64,), (128,), (256,))
ANCHORS = (
    *((10, 13), (16, 30), (33, 23), (30, 61), (62, 45)),
    *((59, 119), (116, 90), (156, 198), (373, 326)),
)
TINY_ANCHORS = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))


class Unit(nn.Module):
    """x + conv3(conv1(x)), the 1x1 convolution to half the channels. Shape: (B, C, H, W) -> (B, C, H, W)"""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            convolution(channels, channels // 2, 1), convolution(channels // 2, channels, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class Features(nn.Sequential):
    """A convolution of 32 filters, then five times one of stride 2, twice as wide, and residual units.

    Shape: (B, C, H, W) -> (B, 1024, H/32, W/32)
    """

    def __init__(self, channels: int) -> None:
        super().__init__(convolution(channels, 32, 3))
        for i, units in enumerate(UNITS):
            c = 32 * 2 ** (i + 1)
            self.append(nn.Sequential(convolution(c // 2, c, 3, 2), *(Unit(c) for _ in range(units))))

    def scales(self, x: Tensor) -> Iterator[Tensor]:
        """The maps after the last three groups: 256, 512 and 1024 channels at strides 8, 16 and 32."""
        for number, layer in enumerate(self):
            x = layer(x)
            if number > 2:
                yield x


class Darknet53(nn.Module):
    """52 convolutions with residuals, the mean over the picture, a dense layer (1x1 convolution in darknet).

    Shape: (B, C, H, W) -> (B, K) logits
    """

    def __init__(self, channels: int, classes: int) -> None:
        if min(channels, classes) < 1:
            raise UsageError("channels and classes must be at least 1")
        super().__init__()
        self.features = Features(channels)
        self.head = nn.Conv2d(1024, classes, 1)
        self.channels = channels
        he_start(self)

    def forward(self, x: Tensor) -> Tensor:
        require_pictures(x, self.channels)
        return self.head(self.features(x).mean((2, 3), keepdim=True)).flatten(1)


class Scale(nn.Module):
    """What is done on one scale: the coarser one joins it, convolutions of c and 2c filters, the head.

    Shape: (B, C, H, W) of the backbone, (B, 2c, H/2, W/2) of the coarser scale or None
    -> (B, c, H, W) for the finer one, (B, A (5 + K), H, W)
    """

    def __init__(self, channels: int, c: int, outputs: int, *, coarsest: bool) -> None:
        super().__init__()
        self.up = None if coarsest else nn.Sequential(convolution(2 * c, c, 1), nn.Upsample(scale_factor=2))
        c_in = channels if coarsest else c + channels
        self.neck = nn.Sequential()
        for _ in range(2):
            self.neck.extend([convolution(c_in, c, 1), convolution(c, 2 * c, 3)])
            c_in = 2 * c
        self.neck.append(convolution(c_in, c, 1))
        self.head = nn.Sequential(convolution(c, 2 * c, 3), nn.Conv2d(2 * c, outputs, 1))

    def forward(self, x: Tensor, coarser: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.up is not None:
            x = cat([self.up(coarser), x], 1)
        x = self.neck(x)
        return x, self.head(x)


class YoloV3(Detector):
    """Darknet-53 without its head, and three scales, each of which reads the coarser one.

    Shape: (B, C, H, W) -> (B, 3 (5 + K), H/s, W/s) for s = 32, 16, 8; H and W divisible by 32
    """

    def __init__(self, channels: int, classes: int, anchors: Sequence[Anchor]) -> None:
        super().__init__(
            3, channels, classes, boxes=len(anchors) // 3, strides=(32, 16, 8), anchors=by_size(anchors, 3)
        )
        self.features = Features(channels)
        self.scales = nn.ModuleList(Scale(2 * c, c, self.per_map, coarsest=c == 512) for c in (512, 256, 128))
        he_start(self)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        self.require(x)
        maps = [*self.features.scales(x)]
        outputs, coarser = [], None
        for scale, x in zip(self.scales, reversed(maps), strict=True):
            coarser, output = scale(x, coarser)
            outputs.append(output)
        return tuple(outputs)


class TinyYoloV3(Detector):
    """Poolings in place of strides and residuals, and two scales.

    Shape: (B, C, H, W) -> (B, 3 (5 + K), H/s, W/s) for s = 32, 16; H and W divisible by 32
    """

    def __init__(self, channels: int, classes: int, anchors: Sequence[Anchor]) -> None:
        super().__init__(
            3, channels, classes, boxes=len(anchors) // 2, strides=(32, 16), anchors=by_size(anchors, 2)
        )
        self.fine = groups(channels, TINY)
        self.coarse = nn.Sequential(
            *(nn.MaxPool2d(2), convolution(256, 512, 3), MaxPool(2, 1)),
            *(convolution(512, 1024, 3), convolution(1024, 256, 1)),
        )
        self.head = nn.Sequential(convolution(256, 512, 3), nn.Conv2d(512, self.per_map, 1))
        self.up = nn.Sequential(convolution(256, 128, 1), nn.Upsample(scale_factor=2))
        self.head_fine = nn.Sequential(convolution(384, 256, 3), nn.Conv2d(256, self.per_map, 1))
        he_start(self)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.require(x)
        fine = self.fine(x)  # (B, 256, H/16, W/16)
        coarse = self.coarse(fine)  # (B, 256, H/32, W/32)
        return self.head(coarse), self.head_fine(cat([self.up(coarse), fine], 1))


@register(
    example=(3, 256, 256),
    parameters=41_609_928,
    source="Redmon, Farhadi 2018, arXiv:1804.02767, table 1: Darknet-53",
)
def darknet53(channels: int = 3, classes: int = 1000) -> nn.Module:
    """The classifier of 52 convolutions and a dense layer.

    Parameters: convolutions 40,549,216, normalisation 35,712, head 1,025,000.
    """
    return Darknet53(channels, classes)


@register(
    example=(3, 416, 416),
    parameters=61_949_149,
    source="Redmon, Farhadi 2018, arXiv:1804.02767, section 2: YOLO v3",
)
def yolo_v3(channels: int = 3, classes: int = 80) -> Detector:
    """75 convolutions, three scales, nine anchors; 61,626,049 parameters with VOC's 20 classes.

    Parameters:
    """
    return YoloV3(channels, classes, ANCHORS)


@register(
    example=(3, 416, 416),
    parameters=8_852_366,
    source="Redmon, Farhadi 2018, arXiv:1804.02767: tiny YOLO v3, as released",
)
def yolo_v3_tiny(channels: int = 3, classes: int = 80) -> Detector:
    """13 convolutions, two scales, six anchors.

    Parameters:
    """
    return TinyYoloV3(channels, classes, TINY_ANCHORS)
