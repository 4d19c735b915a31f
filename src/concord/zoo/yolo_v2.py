"""YOLO v2 and its tiny form, and Darknet-19, the classifier on which it is built.

Source: J. Redmon, A. Farhadi, "YOLO9000: Better, Faster, Stronger", 2016, arXiv:1612.08242, sections 2 and 3
and table 6. The layers are those of darknet19.cfg, yolov2.cfg, yolov2-tiny.cfg and their forms for VOC, in
darknet's order, so that the published weights fit.

Departures of the released networks from the paper:
  * The fine map is squeezed to 64 channels by a 1x1 convolution before ``Reorg`` passes it on, so that 256
    channels join the coarse ones instead of 2048, and 50.9 M parameters are enough.
  * ``Reorg`` does not stack neighbouring places, see ``layers.darknet``.

Anchors are the published ones, VOC's for 20 classes, else COCO's; ``with_anchors`` takes those of other data.
"""

from collections.abc import Sequence

from torch import Tensor, cat, nn

from concord.errors import UsageError
from concord.layers.darknet import MaxPool, Reorg, convolution, groups
from concord.layers.pictures import require_pictures
from concord.layers.start import he_start
from concord.zoo.detector import Anchor, Anchors, Detector
from concord.zoo.registry import register

STRIDE = 32
DARKNET19 = (
    (32,),
    (64,),
    (128, 64, 128),
    (256, 128, 256),
    (512, 256, 512, 256, 512),
    (1024, 512, 1024, 512, 1024),
)
TINY = ((16,), (32,), (64,), (128,), (256,), (512,))
# in cells of 32 pixels, as the files of darknet print them
COCO = ((0.57273, 0.677385), (1.87446, 2.06253), (3.33843, 5.47434), (7.88282, 3.52778), (9.77052, 9.16828))
VOC = ((1.3221, 1.73145), (3.19275, 4.00944), (5.05587, 8.09892), (9.47112, 4.84053), (11.2364, 10.0071))
TINY_VOC = ((1.08, 1.19), (3.42, 4.41), (6.63, 11.38), (9.42, 5.11), (16.62, 10.52))
VOC_CLASSES = 20


class Darknet19(nn.Module):
    """18 convolutions in six groups, a 1x1 convolution to the classes, the mean over the picture.

    Shape: (B, C, H, W) -> (B, K) logits; both sides are at least 32
    """

    def __init__(self, channels: int, classes: int) -> None:
        if min(channels, classes) < 1:
            raise UsageError("channels and classes must be at least 1")
        super().__init__()
        self.features = groups(channels, DARKNET19)
        self.head = nn.Conv2d(1024, classes, 1)
        self.channels = channels
        he_start(self)

    def forward(self, x: Tensor) -> Tensor:
        require_pictures(x, self.channels, smallest=STRIDE)
        return self.head(self.features(x)).mean((2, 3))  # (B, K, H/32, W/32) -> (B, K)


class YoloV2(Detector):
    """Darknet-19 without its head, two convolutions, the fine map beside them, one more, the head.

    Shape: (B, C, H, W) -> (B, 5 (5 + K), H/32, W/32), for H and W divisible by 32
    """

    def __init__(self, channels: int, classes: int, anchors: Sequence[Anchor]) -> None:
        super().__init__(
            2, channels, classes, boxes=len(anchors), strides=(STRIDE,), anchors=in_pixels(anchors)
        )
        *fine, coarse = groups(channels, DARKNET19)
        self.fine = nn.Sequential(*fine)
        self.coarse = nn.Sequential(coarse, convolution(1024, 1024, 3), convolution(1024, 1024, 3))
        self.passed = nn.Sequential(convolution(512, 64, 1), Reorg(2))
        self.head = nn.Sequential(convolution(1280, 1024, 3), nn.Conv2d(1024, self.per_map, 1))
        he_start(self)

    def forward(self, x: Tensor) -> Tensor:
        self.require(x)
        fine = self.fine(x)  # (B, 512, H/16, W/16)
        return self.head(cat([self.passed(fine), self.coarse(fine)], 1))  # of 256 and 1024 channels


class TinyYoloV2(Detector):
    """Six convolutions with poolings, the last of stride 1, two more, the head.

    Shape: (B, C, H, W) -> (B, 5 (5 + K), H/32, W/32), for H and W divisible by 32
    """

    def __init__(self, channels: int, classes: int, anchors: Sequence[Anchor], *, last: int) -> None:
        if last < 1:
            raise UsageError(f"last must be at least 1, got {last}")
        super().__init__(
            2, channels, classes, boxes=len(anchors), strides=(STRIDE,), anchors=in_pixels(anchors)
        )
        self.features = groups(channels, TINY)
        self.features.extend([MaxPool(2, 1), convolution(512, 1024, 3), convolution(1024, last, 3)])
        self.head = nn.Conv2d(last, self.per_map, 1)
        he_start(self)

    def forward(self, x: Tensor) -> Tensor:
        self.require(x)
        return self.head(self.features(x))


def in_pixels(anchors: Sequence[Anchor]) -> Anchors:
    return (tuple((STRIDE * w, STRIDE * h) for w, h in anchors),)


@register(
    example=(3, 224, 224),
    parameters=20_842_376,
    source="Redmon, Farhadi 2016, arXiv:1612.08242, table 6: Darknet-19",
)
def darknet19(channels: int = 3, classes: int = 1000) -> nn.Module:
    """The classifier of 19 convolutions.

    Parameters: convolutions 19,802,976, normalisation 14,400, head 1,025,000.
    """
    return Darknet19(channels, classes)


@register(
    example=(3, 416, 416),
    parameters=50_962_889,
    source="Redmon, Farhadi 2016, arXiv:1612.08242, section 2: YOLO v2, as released",
)
def yolo_v2(channels: int = 3, classes: int = 80) -> Detector:
    """23 convolutions; 50,655,389 parameters and the anchors of VOC with 20 classes.

    Parameters: convolutions 50,506,592, normalisation 20,672, head 435,625.
    """
    return YoloV2(channels, classes, VOC if classes == VOC_CLASSES else COCO)


@register(
    example=(3, 416, 416),
    parameters=11_232_057,
    source="Redmon, Farhadi 2016, arXiv:1612.08242: tiny YOLO v2, as released",
)
def yolo_v2_tiny(channels: int = 3, classes: int = 80, *, last: int = 512) -> Detector:
    """Nine convolutions; VOC's form has ``last=1024``, with 20 classes 15,861,773 parameters.

    Parameters: convolutions 11,008,944, normalisation 5,088, head 218,025.
    """
    return TinyYoloV2(channels, classes, TINY_VOC if classes == VOC_CLASSES else COCO, last=last)
