"""Tables, worked answers and pages say what was counted, and their sums are the totals."""

import re

import pytest
import torch
from torch import nn

from concord.cost.count import count
from concord.cost.record import Block, Layer, grouped
from concord.report.cost_page import cost_page
from concord.report.cost_tables import (
    Priced,
    comparison,
    layer_table,
    linear_parameters,
    rules_table,
    share,
    shown_parts,
    size_of,
    strides,
    totals,
)
from concord.report.cost_worked import worked_answer
from concord.report.tables import plain
from concord.zoo.skeleton import skeleton


def three_layers(separable=False):
    """The network of source 001."""

    def layer(c, n):
        wide = nn.Conv2d(c, c if separable and c > 3 else n, 5, 2, 2, groups=c if separable and c > 3 else 1)
        return [wide, nn.Conv2d(c, n, 1), nn.ReLU()] if separable and c > 3 else [wide, nn.ReLU()]

    features = [step for c, n in ((3, 64), (64, 128), (128, 256)) for step in layer(c, n)]
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(65_536, 200))


def priced(network, *shapes, name="net"):
    return Priced(name, shapes, count(network, *shapes))


@pytest.fixture(scope="module")
def resnet():
    return priced(skeleton("torchvision/resnet18", channels=3, classes=1000), (3, 224, 224), name="resnet18")


class Functional(nn.Module):
    """Its own operations stand between those of its layers."""

    def __init__(self):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.two = nn.Conv2d(4, 5, 3)

    def forward(self, x):
        x = torch.tanh(self.one(x))
        return torch.sigmoid(self.two(x))


def cells(table):
    return [[entry.text for entry in row] for row in table.rows]


# --- layers and blocks ----------------------------------------------------------------


def test_the_table_of_a_small_network_by_hand():
    table = layer_table(priced(Functional(), (3, 8, 8)))
    assert (table.caption, table.notes) == ("net, input 3x8x8", ())
    assert cells(table) == [
        ["one.0", "Conv2d", "4x6x6", "112", "37.71", "3,888", "57.45", "3x3 / 1"],
        ["one.1", "ReLU", "4x6x6", "0", "0.00", "0", "0.00", "3x3 / 1"],
        ["(network)", "tanh", "4x6x6", "0", "0.00", "0", "0.00", "3x3 / 1"],
        ["two", "Conv2d", "5x4x4", "185", "62.29", "2,880", "42.55", "5x5 / 1"],
        ["(network)", "sigmoid", "5x4x4", "0", "0.00", "0", "0.00", "5x5 / 1"],
        ["all", "", "", "297", "100.00", "6,768", "100.00", ""],
    ]
    assert cells(rules_table(priced(Functional(), (3, 8, 8)))) == [
        ["one.0", "K²·M·N + N = 3²·3·4 + 4 = 112 parameters; H·W·K²·M·N = 6·6·3²·3·4 = 3,888 MACs"],
        ["two", "K²·M·N + N = 3²·4·5 + 5 = 185 parameters; H·W·K²·M·N = 4·4·3²·4·5 = 2,880 MACs"],
    ]


def test_a_folded_table_by_hand():
    table = layer_table(priced(Functional(), (3, 8, 8)), depth=1)
    assert cells(table)[0] == ["one", "2 layers", "4x6x6", "112", "37.71", "3,888", "57.45", "3x3 / 1"]
    assert [row[0] for row in cells(table)] == ["one", "(network)", "two", "(network)", "all"]
    assert table.notes == ("Modules are summed up; --depth 2 opens one level more.",)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, None])
def test_sums_of_every_depth_are_the_totals(resnet, depth):
    parts = shown_parts(resnet.cost, depth)
    assert sum(part.parameters for part in parts) == resnet.cost.parameters == 11_689_512
    assert sum(part.macs for part in parts) == resnet.cost.macs
    inside = [layer for part in parts for layer in (part.layers if isinstance(part, Block) else [part])]
    assert sorted(map(id, inside)) == sorted(map(id, resnet.cost.layers))
    assert all(part.path.count(".") == depth - 1 for part in parts if isinstance(part, Block))


def test_blocks_open_level_by_level(resnet):
    stages = [part for part in shown_parts(resnet.cost, 1) if isinstance(part, Block)]
    assert [stage.path for stage in stages] == ["layer1", "layer2", "layer3", "layer4"]
    assert [part.path for part in stages[1].parts()] == ["layer2.0", "layer2.1"]
    first = stages[1].parts()[0]
    assert [(type(part), part.path) for part in first.parts()][-2:] == [
        (Block, "layer2.0.downsample"),
        (Layer, "layer2.0"),
    ]
    assert first.parts()[-1].type == "add_"
    assert len(shown_parts(resnet.cost, None)) == len(resnet.cost.layers) == 60
    assert len(shown_parts(resnet.cost, 1)) == 10


def test_many_layers_are_folded_and_few_are_not():
    def table(layers):
        block = nn.Sequential(*[nn.Linear(2, 2) for _ in range(layers)])
        return layer_table(priced(nn.Sequential(block), (2,)))

    assert (len(table(60).rows), len(table(61).rows)) == (61, 2)


def test_names_that_begin_alike_are_not_one_block():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.ab = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))

        def forward(self, x):
            return self.ab(self.a(x))

    parts = grouped(count(Both(), (2,)).layers)
    assert [(part.path, isinstance(part, Block)) for part in parts] == [("a", False), ("ab", True)]


def test_a_block_ends_with_the_last_output_not_with_what_is_not_used():
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.spare = nn.Linear(2, 3), nn.Linear(3, 4), nn.Linear(5, 5)

        def forward(self, x):
            return self.two(self.one(x))

    table = layer_table(priced(nn.Sequential(Spare()), (2,)), depth=1)
    assert cells(table)[0][:4] == ["0", "3 layers", "4", "55"]


# --- figures of the whole -----------------------------------------------------------------


def test_totals_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    said = dict(totals(priced(network, (3, 8, 8))))
    assert said == {
        "parameters": "120, and 9 numbers in buffers",
        "size with buffers": "516 B at 32, 258 B at 16, 129 B at 8, 17 B at 1 bits each",
        "MACs": "3,888 (7,776 FLOPs, at two for each)",
        "other operations": "432",
        "activations": "288 elements, at most 480 alive at once",
        # 3,888 · 4.6 pJ + 432 · 0.9 pJ = 18.3 nJ, and 129 + 2 · 288 numbers of 0.65 or 1.3 nJ
        "energy": "477 nJ to 935 nJ: an estimate (45 nm, every weight and map through DRAM)",
        "receptive field": "3x3, stride 1, up to 1, BatchNorm2d",
    }


def test_totals_say_what_was_not_counted_and_where():
    class Sorted(nn.Module):
        def forward(self, x):
            return x.sort().values if x.sum() < 9 else x

    said = dict(totals(priced(Sorted(), (4,))))
    assert said["counted"].startswith("by running it on the cpu")
    assert said["not counted"].startswith("sort: no rule")
    assert said["receptive field"].startswith("none")


def test_sizes_shares_and_strides():
    assert [size_of(n) for n in (0, 999, 1000, 46_796_528, 2.5e9)] == [
        "0 B",
        "999 B",
        "1.00 kB",
        "46.80 MB",
        "2.50 GB",
    ]
    assert (share(1, 3), share(0, 0)) == ("33.33", "-")
    assert (strides([2.0, 2.0]), strides([0.5, 1.0])) == ("2", "0.5x1")


# --- side by side ---------------------------------------------------------------------------


def test_comparison_by_hand():
    one = priced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2)), (3, 8, 8), name="A")
    two = priced(nn.Conv2d(3, 8, 3, bias=False), (3, 10, 8), name="B")
    table = comparison([one, two])
    assert cells(table) == [
        ["A", "3x8x8", "402", "1.0000", "72.14", "4,176", "1.0000", "146", "338", "3x3"],
        ["B", "3x10x8", "216", "0.5373", "0.00", "10,368", "2.4828", "0", "624", "3x3"],
    ]
    assert table.notes[0].startswith("Ratios are to A")


def test_nothing_is_divided_by_nothing():
    table = comparison([priced(nn.ReLU(), (4,)), priced(nn.Linear(4, 2), (4,))])
    assert [row[3] for row in cells(table)] == ["-", "-"]
    assert cells(table)[0][-1] == "-"


def test_functional_linear_layers_are_linear_layers():
    attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    cost = count(attention, (5, 8))
    assert linear_parameters(cost) == cost.parameters - 4 * 8  # all but two normalisations


# --- worked by hand --------------------------------------------------------------------------


def test_the_worked_answer_of_source_001():
    lines = worked_answer(priced(three_layers(), (3, 128, 128), name="three"))
    text = "\n".join(lines)
    assert lines[0] == "three, input 3x128x128"
    for line in (
        "0: 5x5 convolution, stride 2, padding 2, 3x128x128 -> 64x64x64",
        "  H = W       floor((128 + 2·2 - 1·(5 - 1) - 1)/2) + 1 = 64",
        "  parameters  K²·M·N + N = 5²·3·64 + 64 = 4,864",
        "  MACs        H·W·K²·M·N = 64·64·5²·3·64 = 19,660,800",
        "  field       R = 1 + 4·1 = 5, J = 2·1 = 2",
        "  parameters  K²·M·N + N = 5²·64·128 + 128 = 204,928",
        "  MACs        H·W·K²·M·N = 32·32·5²·64·128 = 209,715,200",
        "  field       R = 5 + 4·2 = 13, J = 2·2 = 4",
        "4: 5x5 convolution, stride 2, padding 2, 128x32x32 -> 256x16x16",
        "  parameters  K²·M·N + N = 5²·128·256 + 256 = 819,456",
        "  MACs        H·W·K²·M·N = 16·16·5²·128·256 = 209,715,200",
        "  field       R = 13 + 4·4 = 29, J = 2·4 = 8",
        "7: Linear, to 200",
        "  parameters  D·N + N = 65536·200 + 200 = 13,107,400",
        "convolutions     4,864 + 204,928 + 819,456 = 1,029,248 parameters",
        "                 19,660,800 + 209,715,200 + 209,715,200 = 439,091,200 MACs",
        "all              14,136,648 parameters, 452,198,400 MACs",
        "fully connected  13,107,400 / 14,136,648 = 92.72 % of the parameters, 2.90 % of the MACs",
    ):
        assert line in lines, text


def test_the_worked_answer_of_its_separable_form():
    lines = worked_answer(priced(three_layers(separable=True), (3, 128, 128)))
    assert "2: 5x5 convolution, stride 2, padding 2, one filter per map, 64x64x64 -> 64x32x32" in lines
    assert "  parameters  K²·M + M = 5²·64 + 64 = 1,664" in lines
    assert lines[-5:] == [
        "                 19,660,800 + 1,638,400 + 8,388,608 + 819,200 + 8,388,608 = 38,895,616 MACs",
        "all              13,158,600 parameters, 52,002,816 MACs",
        "fully connected  13,107,400 / 13,158,600 = 99.61 % of the parameters, 25.20 % of the MACs",
        "separable        2 + 3: 1/N + 1/K² = 1/128 + 1/5² = 0.0478 of the 209,715,200 MACs of one "
        "convolution, 20.92 times fewer",
        "separable        5 + 6: 1/N + 1/K² = 1/256 + 1/5² = 0.0439 of the 209,715,200 MACs of one "
        "convolution, 22.78 times fewer",
    ]


def pairs(*layers, shape=(4, 9, 9)):
    lines = worked_answer(priced(nn.Sequential(*layers), shape))
    return [line for line in lines if line.startswith("separable")]


def test_only_true_pairs_are_called_separable():
    depthwise = nn.Conv2d(4, 4, 3, groups=4)
    for shape, line, wide, point in [
        (
            (4, 9),
            "1/N + 1/K = 1/6 + 1/3 = 0.5000 of the 504 MACs",
            nn.Conv1d(4, 4, 3, groups=4),
            nn.Conv1d(4, 6, 1),
        ),
        (
            (4, 4, 4, 4),
            "1/N + 1/K³ = 1/2 + 1/2³ = 0.6250 of",
            nn.Conv3d(4, 4, 2, groups=4),
            nn.Conv3d(4, 2, 1),
        ),
    ]:
        assert line in pairs(wide, point, shape=shape)[0]
    assert len(pairs(depthwise, nn.ReLU(), nn.Conv2d(4, 6, 1))) == 1
    assert pairs(nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(8, 6, 1)) == []  # two filters per map
    assert pairs(nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 6, 1)) == []
    assert pairs(nn.Conv2d(4, 4, (1, 3), groups=4), nn.Conv2d(4, 6, 1)) == []
    assert pairs(depthwise, nn.Conv2d(4, 6, 1, stride=2)) == []
    assert pairs(depthwise, nn.Conv2d(4, 6, 3)) == []
    assert pairs(depthwise, nn.Conv2d(4, 6, 1, groups=2)) == []
    assert pairs(depthwise, nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 6, 1)) == []  # as in squeeze and excitation


def test_sides_that_differ_are_worked_one_by_one():
    lines = worked_answer(priced(nn.Conv2d(2, 3, (3, 5), (1, 2), (0, 2), groups=1), (2, 8, 9)))
    assert lines[2:8] == [
        "network: 3x5 convolution, stride 1x2, padding 0x2, 2x8x9 -> 3x6x5",
        "  H           floor((8 + 2·0 - 1·(3 - 1) - 1)/1) + 1 = 6",
        "  W           floor((9 + 2·2 - 1·(5 - 1) - 1)/2) + 1 = 5",
        "  parameters  K_h·K_w·M·N + N = 3·5·2·3 + 3 = 93",
        "  MACs        H·W·K_h·K_w·M·N = 6·5·3·5·2·3 = 2,700",
        "",
    ]


def test_layers_that_are_used_again_and_dilation_are_worked():
    layer = nn.Conv2d(2, 2, 3, padding=2, dilation=2)
    lines = worked_answer(priced(nn.Sequential(layer, layer), (2, 8, 8)))
    assert lines[2:8] == [
        "0: 3x3 convolution, stride 1, padding 2, 2x8x8 -> 2x8x8",
        "  H = W       floor((8 + 2·2 - 2·(3 - 1) - 1)/1) + 1 = 8",
        "  parameters  K²·M·N + N = 3²·2·2 + 2 = 38",
        "  MACs        H·W·K²·M·N = 8·8·3²·2·2 = 2,304",
        "              2 times: 4,608",
        "  field       R = 1 + 4·1 = 5, J = 1·1 = 1",
    ]


def test_long_sums_are_shortened():
    lines = worked_answer(
        priced(nn.Sequential(*[nn.Conv2d(1, n % 2 + 1, 1) for n in (0,) * 8 + (1,)]), (1, 2, 2))
    )
    assert "convolutions     2 + 2 + 2 + ... + 4 = 20 parameters" in lines
    lines = worked_answer(priced(nn.Sequential(*[nn.Conv2d(1, 1, 1) for _ in range(8)]), (1, 2, 2)))
    assert "convolutions     2 + 2 + 2 + 2 + 2 + 2 + 2 + 2 = 16 parameters" in lines


def test_fields_that_no_sum_explains_are_left_out():
    after = [nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 3)]
    lines = worked_answer(priced(nn.Sequential(nn.Conv2d(1, 1, 3), *after), (1, 9, 9)))
    assert sum(line.startswith("  field") for line in lines) == 1


def test_every_worked_sum_is_right():
    """R, J and output sizes of a large network, read back from the text."""
    network = skeleton("torchvision/mobilenet_v2", channels=3, classes=1000)
    lines = worked_answer(priced(network, (3, 224, 224)))
    sums = [line for line in lines if line.startswith(("  field", "  H = W"))]
    assert len(sums) == 2 * 52
    for line in sums:
        for step in re.findall(r"(?:R|J|W) +(?:= )?(.+?) = (\d+)", line):
            expression, result = step
            expression = expression.replace("·", "*").replace(")/", ")//").replace("floor", "")
            assert eval(expression) == int(result), line


# --- pages ------------------------------------------------------------------------------------


def evil():
    network = nn.Sequential()
    network.add_module("<script>alert(1)</script>\x1b[31m", nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    return network


def test_names_of_modules_are_harmless():
    one = priced(evil(), (3, 8, 8), name="</title><b>")
    page = cost_page([one, one])
    assert "<script>" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)" in page
    texts = [
        plain(layer_table(one)),
        plain(rules_table(one)),
        *worked_answer(one),
        *dict(totals(one)).values(),
    ]
    assert not any("\x1b" in text for text in (page, *texts))


def test_a_page_holds_every_layer_and_asks_nothing_of_any_network(resnet):
    small = priced(three_layers(), (3, 128, 128), name="three")
    page = cost_page([small, resnet])
    asked = re.findall(r"(?:src|href|action)\s*=\s*[\"']?([^\"'> ]+)|(url\(|@import|<script|<iframe)", page)
    assert {target for target, _ in asked if not target.startswith("#")} <= {"data:,", ""}
    assert not any(other for _, other in asked)
    assert all(f">{layer.path}<" in page for layer in resnet.cost.layers)
    assert page.count("<details") == 4 + 8 + 3  # stages, blocks, and what shortens three of them
    assert page.count("<details open") == 0
    assert "K²·M·N + N = 5²·3·64 + 64 = 4,864 parameters" in page
    assert "Cost side by side" in page
    assert "Side by side" not in cost_page([small])
