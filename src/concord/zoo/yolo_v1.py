"""YOLO, which predicts all boxes of a picture from one grid in one pass, and its tiny form.

Source: J. Redmon, S. Divvala, R. Girshick, A. Farhadi, "You Only Look Once: Unified, Real-Time Object
Detection", 2015, arXiv:1506.02640, section 2 and figure 3. ``yolo_v1_tiny`` is yolov1-tiny.cfg of darknet,
whose published weights fit it.

``yolo_v1`` is the network of the paper. The weights published later as yolov1 belong to another one: three
boxes a cell, batch normalisation, a layer without shared weights and one dense layer; ``zoo.darknet`` builds
it from its file.

Departures from the paper:
  * All 24 convolutions have He's start; the paper trains the first 20 on ImageNet before.
  * Padding is half the kernel, which figure 3 needs and does not print.
"""

from collections.abc import Iterable
from itertools import pairwise

from torch import Tensor, nn

from concord.errors import ShapeError
from concord.layers.darknet import SLOPE, convolution, groups
from concord.layers.start import he_start
from concord.zoo.detector import Detector
from concord.zoo.registry import register

SIDE, CELLS = 448, 7
# (filters, kernel) of the convolutions between the poolings
MIDDLE = (
    ((192, 3),),
    ((128, 1), (256, 3), (256, 1), (512, 3)),
    (*((256, 1), (512, 3)) * 4, (512, 1), (1024, 3)),
    (*((512, 1), (1024, 3)) * 2, (1024, 3)),
)
TINY = ((16,), (32,), (64,), (128,), (256,), (512,))


class YoloV1(Detector):
    """Feature maps of 7x7, and dense layers that give every cell its classes, confidences and boxes.

    Shape: (B, C, 448, 448) -> (B, 49 (K + 5n)) in darknet's order, see ``zoo.detector``
    """

    def __init__(
        self, channels: int, classes: int, boxes: int, features: nn.Module, dense: Iterable[int]
    ) -> None:
        super().__init__(1, channels, classes, boxes=boxes, cells=CELLS)
        self.features = features
        self.head = nn.Sequential(nn.Flatten())
        *hidden, last = dense
        for n_in, n_out in pairwise(hidden):
            self.head.extend([nn.Linear(n_in, n_out), nn.LeakyReLU(SLOPE), nn.Dropout(0.5)])
        self.head.append(nn.Linear(hidden[-1], last))
        he_start(self)

    def forward(self, x: Tensor) -> Tensor:
        self.require(x)
        if x.shape[2:] != (SIDE, SIDE):
            raise ShapeError(
                f"height and width must be {SIDE}, got {x.shape[2]}x{x.shape[3]}; resize the pictures"
            )
        return self.head(self.features(x))


@register(
    example=(3, SIDE, SIDE),
    parameters=271_703_550,
    source="Redmon, Divvala, Girshick, Farhadi 2015, arXiv:1506.02640: YOLO",
)
def yolo_v1(channels: int = 3, classes: int = 20, *, boxes: int = 2) -> Detector:
    """The network of figure 3: 24 convolutions and two dense layers, of 4096 and S² (5n + K).

    Parameters: convolutions 60,155,968, dense layers 205,524,992 + 6,022,590.
    """
    features = nn.Sequential(convolution(channels, 64, 7, 2, norm=False))
    c_in = 64
    for block in MIDDLE:
        features.append(nn.MaxPool2d(2))
        for c_out, size in block:
            features.append(convolution(c_in, c_out, size, norm=False))
            c_in = c_out
    for stride in (2, 1, 1):
        features.append(convolution(1024, 1024, 3, stride, norm=False))  # (B, 1024, 7, 7)
    return YoloV1(channels, classes, boxes, features, (1024 * CELLS**2, 4096, outputs(classes, boxes)))


@register(
    example=(3, SIDE, SIDE),
    parameters=27_095_374,
    source="Redmon, Divvala, Girshick, Farhadi 2015, arXiv:1506.02640: tiny YOLO, as released",
)
def yolo_v1_tiny(channels: int = 3, classes: int = 20, *, boxes: int = 2) -> Detector:
    """Eight convolutions and one dense layer.

    Parameters: convolutions 8,649,424 with normalisation 4,576, dense layer 18,441,150...
    """
    features = groups(channels, TINY)
    features.extend([nn.MaxPool2d(2), convolution(512, 1024, 3), convolution(1024, 256, 3)])
    return YoloV1(channels, classes, boxes, features, (256 * CELLS**2, outputs(classes, boxes)))


def outputs(classes: int, boxes: int) -> int:
    return CELLS**2 * (classes + 5 * boxes)
