"""Write docs/results/counts.md, the counts of the zoo beside those that papers print.

python tools/counts_table.py
"""

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

import torch

from concord import zoo
from concord.cost.count import count
from concord.cost.record import Cost
from concord.runs.costs import cost_of
from concord.zoo.resnext import DEPTH_101, Bottleneck2015, BottleneckNet

PARAMETERS, MACS = "parameters", "macs"
ONE, THOUSAND, MILLION, BILLION = 1, 10**3, 10**6, 10**9
TWICE = BILLION // 2  # where a multiplication and its addition are two operations
SIGNS = {ONE: "", THOUSAND: " k", MILLION: " M", BILLION: " G", TWICE: " G operations"}
CUT = "cut off instead of rounded"
# In the form of 2015, with the stride on the first 1x1, the zoo has ResNet-50 only.
RESNETS_2015 = {"resnet101_2015": DEPTH_101, "resnet152_2015": (3, 8, 36, 3)}


@dataclass(frozen=True)
class Row:
    """A printed figure. ``why`` is there if ours, rounded as the figure is, is another number."""

    network: str
    figure: str
    printed: str
    unit: int
    source: str
    why: str = ""
    input: str = ""  # where it is not the network's own
    part: str = ""  # path of the layers that the figure is about
    step: int = 0  # of the last digit, where more zeros are printed than are meant

    @property
    def value(self) -> int:
        return int(Decimal(self.printed.replace(",", "")) * self.unit)

    def rounded(self, ours: int) -> int:
        """Ours to the last printed digit, halves upwards."""
        decimals = len(self.printed.partition(".")[2])
        step = self.step or self.unit // 10**decimals
        return (2 * ours + step) // (2 * step) * step

    @property
    def ours(self) -> int:
        layers = [x for x in _cost(self.network, self.input).layers if x.path.startswith(self.part)]
        return sum(getattr(layer, self.figure) for layer in layers)


@cache
def _cost(network: str, size: str) -> Cost:
    if network in RESNETS_2015:
        with torch.device("meta"):
            return count(BottleneckNet(3, 1000, RESNETS_2015[network], block=Bottleneck2015), (3, 224, 224))
    return cost_of(network, tuple(map(int, size.split("x"))) if size else ()).cost


NOEL = "Noel 2017, section 2"
COUNTER = "the author's counter, which adds partial products, says"
S001 = "Merrikhi 2024, question 1"
VGG = "Simonyan, Zisserman 2014, arXiv:1409.1556, table 2"
HE = "He et al. 2015, arXiv:1512.03385"
XIE = "Xie et al. 2017, arXiv:1611.05431"
FAMILY = "printed once for all cardinalities"
WRN = "Zagoruyko, Komodakis 2016, arXiv:1605.07146, table 5"
WRN_CODE = "Zagoruyko, Komodakis, github.com/szagoruyko/wide-residual-networks, pretrained"
DENSE = "Huang et al. 2017, arXiv:1608.06993"
MOBILE = "Howard et al. 2017, arXiv:1704.04861"
SANDLER = "Sandler et al. 2018, arXiv:1801.04381, table 4"

ROWS = (
    Row("lenet5", PARAMETERS, "60,000", ONE, "LeCun et al. 1998, section II.B",
        "a learned output of 850 instead of the fixed one"),
    Row("alexnet_paper", PARAMETERS, "60", MILLION, "Krizhevsky et al. 2012, abstract", CUT),
    Row("vgg11", PARAMETERS, "133", MILLION, f"{VGG} (A)"),
    Row("vgg13", PARAMETERS, "133", MILLION, f"{VGG} (B)"),
    Row("vgg16", PARAMETERS, "138", MILLION, f"{VGG} (D)"),
    Row("vgg16", MACS, "15.3", BILLION, f"{HE}, section 4.1", "convolutions alone: 15.35"),
    Row("vgg19", PARAMETERS, "144", MILLION, f"{VGG} (E)"),
    Row("vgg19", MACS, "19.6", BILLION, f"{HE}, section 3.3"),
    Row("resnet18", MACS, "1.8", BILLION, f"{HE}, table 1"),
    Row("resnet34", MACS, "3.6", BILLION, f"{HE}, table 1", "shortcuts without projections: 3.64"),
    Row("resnet50_2015", MACS, "3.8", BILLION, f"{HE}, table 1", CUT),
    Row("resnet101_2015", MACS, "7.6", BILLION, f"{HE}, table 1"),
    Row("resnet152_2015", MACS, "11.3", BILLION, f"{HE}, table 1"),
    Row("resnet50", PARAMETERS, "25.6", MILLION, WRN_CODE),
    Row("resnet101", PARAMETERS, "44.5", MILLION, WRN_CODE),
    Row("resnet152", PARAMETERS, "60.2", MILLION, WRN_CODE),
    Row("resnet200", PARAMETERS, "64.7", MILLION, f"{WRN_CODE} (pre-ResNet-200)"),
    Row("wide_resnet50_2", PARAMETERS, "68.9", MILLION, WRN_CODE),
    Row("resnet50", PARAMETERS, "25", MILLION, f"{XIE}, figure 5", FAMILY),
    Row("resnet50", MACS, "4.1", BILLION, f"{XIE}, table 3"),
    Row("resnext50", PARAMETERS, "25", MILLION, f"{XIE}, figure 5"),
    Row("resnext50", MACS, "4.1", BILLION, f"{XIE}, table 3", FAMILY),
    Row("resnext50(cardinality=2, width=40)", MACS, "4.1", BILLION, f"{XIE}, table 3"),
    Row("resnext50(cardinality=4, width=24)", MACS, "4.1", BILLION, f"{XIE}, table 3", FAMILY),
    Row("resnext50(cardinality=8, width=14)", MACS, "4.1", BILLION, f"{XIE}, table 3", FAMILY),
    Row("resnet101", PARAMETERS, "44", MILLION, f"{XIE}, figure 5", FAMILY),
    Row("resnet101", MACS, "7.8", BILLION, f"{XIE}, table 3"),
    Row("resnext101_32x4d", PARAMETERS, "44", MILLION, f"{XIE}, figure 5"),
    Row("resnext101_32x4d", MACS, "7.8", BILLION, f"{XIE}, table 3", FAMILY),
    Row("resnet200", MACS, "15", BILLION, f"{XIE}, section 5.1"),
    Row("resnet101_1x100d", MACS, "15", BILLION, f"{XIE}, section 5.1"),
    Row("resnext101_2x64d", MACS, "15", BILLION, f"{XIE}, section 5.1"),
    Row("resnext101_64x4d", MACS, "15", BILLION, f"{XIE}, section 5.1"),
    Row("resnext29", PARAMETERS, "34.4", MILLION, f"{XIE}, table 7"),
    Row("resnext29_16x64d", PARAMETERS, "68.1", MILLION, f"{XIE}, table 7", CUT),
    Row("resnet20", PARAMETERS, "0.27", MILLION, f"{HE}, table 6"),
    Row("resnet32", PARAMETERS, "0.46", MILLION, f"{HE}, table 6"),
    Row("resnet44", PARAMETERS, "0.66", MILLION, f"{HE}, table 6"),
    Row("resnet56", PARAMETERS, "0.85", MILLION, f"{HE}, table 6"),
    Row("resnet110", PARAMETERS, "1.7", MILLION, f"{HE}, table 6"),
    Row("preact_resnet110", PARAMETERS, "1.7", MILLION, WRN),
    Row("preact_resnet164", PARAMETERS, "1.7", MILLION, WRN),
    Row("wide_resnet28_10", PARAMETERS, "36.5", MILLION, WRN),
    Row("densenet40_12", PARAMETERS, "1.0", MILLION, f"{DENSE}, section 4.3"),
    Row("densenet_bc100_12", PARAMETERS, "0.8", MILLION, f"{DENSE}, figure 4"),
    Row("gated_depthwise", PARAMETERS, "97,530", ONE, "github.com/xvel/cifar10-tiniest, README"),
    Row("densenet201", PARAMETERS, "20", MILLION, f"{DENSE}, section 4.4"),
    Row("mobilenet_v1", PARAMETERS, "4.2", MILLION, f"{MOBILE}, table 6"),
    Row("mobilenet_v1", MACS, "569", MILLION, f"{MOBILE}, table 6"),
    *(
        Row(f"mobilenet_v1(width={width})", figure, printed, MILLION, f"{MOBILE}, table 6")
        for width, parameters, macs in ((75, "2.6", "325"), (50, "1.3", "149"), (25, "0.5", "41"))
        for figure, printed in ((PARAMETERS, parameters), (MACS, macs))
    ),
    *(
        Row("mobilenet_v1", MACS, macs, MILLION, f"{MOBILE}, table 7", why, f"3x{side}x{side}")
        for side, macs, why in ((192, "418", ""), (160, "290", CUT), (128, "186", ""))
    ),
    Row("mobilenet_v2", PARAMETERS, "3.4", MILLION, SANDLER, f"without normalisation: 3.47, {CUT}"),
    Row("mobilenet_v2", MACS, "300", MILLION, SANDLER, CUT),
    Row("squeezenet1_0", PARAMETERS, "1,248,424", ONE, "Iandola et al. 2016, arXiv:1602.07360, table 1"),
    Row("three_layer", PARAMETERS, "4,864", ONE, S001, part="features.conv1"),
    Row("three_layer", MACS, "19,660,800", ONE, S001, part="features.conv1"),
    Row("three_layer", PARAMETERS, "204,928", ONE, S001, part="features.conv2"),
    Row("three_layer", MACS, "209,715,200", ONE, S001, part="features.conv2"),
    Row("three_layer", PARAMETERS, "819,456", ONE, S001, part="features.conv3"),
    Row("three_layer", MACS, "209,715,200", ONE, S001, part="features.conv3"),
    Row("three_layer_separable", PARAMETERS, "9,984", ONE, S001, part="features.conv2"),
    Row("three_layer_separable", MACS, "10,948,608", ONE, S001,
        "32 x 32 x 64 x 25 = 1,638,400, printed 2,560,000", part="features.conv2"),
    Row("three_layer_separable", PARAMETERS, "36,352", ONE, S001, part="features.conv3"),
    Row("three_layer_separable", MACS, "9,207,808", ONE, S001, part="features.conv3"),
    Row("darknet19", MACS, "5.58", TWICE, "Redmon, Farhadi 2016, section 3"),
    Row("yolo_v3", MACS, "65.9", TWICE, "AlexeyAB/darknet, README"),
    Row("yolo_v3_tiny", MACS, "5.6", TWICE, "AlexeyAB/darknet, README"),
    Row("noel2017_text_st", PARAMETERS, "50", THOUSAND, NOEL, step=10_000),
    Row("noel2017_text_m", PARAMETERS, "280", THOUSAND, NOEL, step=10_000),
    Row("noel2017_st", PARAMETERS, "50", THOUSAND, NOEL, f"{COUNTER} 46,829", step=10_000),
    Row("noel2017_m", PARAMETERS, "280", THOUSAND, NOEL, f"{COUNTER} 280,733", step=10_000),
)  # fmt: skip


def line(row: Row) -> str:
    ours = row.ours
    where = (f"`{row.network}`", row.input and f"at {row.input}", row.part and f"`{row.part}`")
    cells = (
        " ".join(filter(None, where)),
        {MACS: "MACs"}.get(row.figure, row.figure),
        row.printed + SIGNS[row.unit],
        row.source,
        f"{ours:,}",
        f"{ours - row.value:+,}",
        row.why or ("exact" if ours == row.value else "equal as rounded"),
    )
    return f"| {' | '.join(cells)} |"


def document() -> str:
    """The whole file."""
    equal = sum(not row.why for row in ROWS)
    named = {row.network.partition("(")[0] for row in ROWS}
    without = ", ".join(f"`{name}`" for name in zoo.names() if name not in named)
    return f"""# Counts beside those of the papers

Written by `python tools/counts_table.py`. A test holds this table equal to the code, and every count equal to
the printed figure in as many digits as are printed, or unequal for the reason beside it.
{equal} of {len(ROWS)} figures are equal.

k, M and G are thousands, millions and thousands of millions. MACs are multiply-accumulates; most papers call
them FLOPs, and those of YOLO count two operations for each. "Cut off" means that the printed digits are the
first ones of ours. Inputs are 3x224x224 with 1000 classes for networks of ImageNet, 3x32x32 with 10 for those
of CIFAR, 3x416x416 with 80 for YOLO, 3x128x128 with 200 for the three-layer network, if none is named.
`resnet101_2015` and `resnet152_2015` are no names of the zoo but
`concord.zoo.resnext.BottleneckNet` with the stride on the first 1x1, as `resnet50_2015` has it.

| network | figure | printed | source | ours | difference | |
|---|---|--:|---|--:|--:|---|
{chr(10).join(map(line, ROWS))}

No printed figure was found for these, or it stands above under another name of the same network: {without}.
"""


if __name__ == "__main__":
    path = Path(__file__).parents[1] / "docs" / "results" / "counts.md"
    path.write_text(document(), encoding="utf-8")
