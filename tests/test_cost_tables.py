"""Tables, worked answers and pages say what was counted, and their sums are the totals."""

import re

import pytest
import torch
from cost_made import cells, priced, three_layers
from torch import nn

from concord.cost.count import count
from concord.cost.record import Block, Layer, grouped
from concord.report.cost_page import cost_page
from concord.report.cost_parts import cost_parts
from concord.report.cost_tables import layer_table, rules_table, shown_parts
from concord.report.cost_totals import comparison, totals
from concord.report.cost_worked import worked_answer
from concord.report.tables import as_text
from concord.zoo.skeleton import skeleton


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


# --- layers and blocks ----------------------------------------------------------------


def test_the_table_of_a_small_network_by_hand():
    table = layer_table(priced(Functional(), (3, 8, 8)))
    assert (table.caption, table.notes) == ("net, input 3x8x8", ())
    assert cells(table) == [
        ["one.0", "Conv2d", "4x6x6", "112", "37.71", "3,888", "57.45", "144", "3x3 / 1"],
        ["one.1", "ReLU", "4x6x6", "0", "0.00", "0", "0.00", "144", "3x3 / 1"],
        ["(network)", "tanh", "4x6x6", "0", "0.00", "0", "0.00", "144", "3x3 / 1"],
        ["two", "Conv2d", "5x4x4", "185", "62.29", "2,880", "42.55", "80", "5x5 / 1"],
        ["(network)", "sigmoid", "5x4x4", "0", "0.00", "0", "0.00", "80", "5x5 / 1"],
        ["all", "", "", "297", "100.00", "6,768", "100.00", "592", ""],
    ]
    assert cells(rules_table(priced(Functional(), (3, 8, 8)))) == [
        ["one.0", "K²·M·N + N = 3²·3·4 + 4 = 112 parameters"],
        ["", "H·W·K²·M·N = 6·6·3²·3·4 = 3,888 MACs"],
        ["", "H·W·N = 6·6·4 = 144 other"],
        ["one.1", "E = 144 other"],
        ["(network)", "E = 144 other"],
        ["two", "K²·M·N + N = 3²·4·5 + 5 = 185 parameters"],
        ["", "H·W·K²·M·N = 4·4·3²·4·5 = 2,880 MACs"],
        ["", "H·W·N = 4·4·5 = 80 other"],
        ["(network)", "E = 80 other"],
    ]


def test_the_last_step_of_a_rule_says_how_often_it_is_taken():
    layer = nn.Linear(5, 5)
    rows = cells(rules_table(priced(nn.Sequential(layer, layer), (5,))))
    assert rows == [
        ["0", "D·N + N = 5·5 + 5 = 30 parameters"],
        ["", "D·N = 5·5 = 25 MACs"],
        ["", "N = 5 other; 2 calls"],
    ]


def test_the_tables_of_a_common_network_fit_into_120_columns(resnet):
    for table in (layer_table(resnet), rules_table(resnet)):
        assert max(map(len, as_text(table).splitlines())) <= 120


def test_a_folded_table_by_hand():
    table = layer_table(priced(Functional(), (3, 8, 8)), depth=1)
    assert cells(table)[0] == ["one", "2 layers", "4x6x6", "112", "37.71", "3,888", "57.45", "288", "3x3 / 1"]
    assert [row[0] for row in cells(table)] == ["one", "(network)", "two", "(network)", "all"]
    assert table.notes == ("Layers below level 1 of the modules are summed up.",)


def test_the_note_names_the_level_below_which_layers_are_summed_up():
    """61 layers are too many for the default."""
    inner = nn.Sequential(*(nn.Conv1d(1, 1, 1) for _ in range(61)))
    network = priced(nn.Sequential(nn.Sequential(inner)), (1, 5))
    for depth, level in ((None, 1), (1, 1), (2, 2)):
        notes = layer_table(network, depth).notes
        assert notes == (f"Layers below level {level} of the modules are summed up.",)
    assert layer_table(network, 3).notes == ()


def test_levels_open_one_at_a_time():
    """Modules within modules: a, a.b and a.b.c, each with a layer of its own."""
    inner = nn.Sequential(
        nn.Conv1d(1, 1, 1), nn.Sequential(nn.Conv1d(1, 1, 1), nn.Sequential(nn.Conv1d(1, 1, 1)))
    )
    network = priced(nn.Sequential(inner), (1, 5))
    names = [[part.path for part in shown_parts(network.cost, depth)] for depth in (1, 2, 3, 4)]
    assert names == [["0"], ["0.0", "0.1"], ["0.0", "0.1.0", "0.1.1"], ["0.0", "0.1.0", "0.1.1.0"]]


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


def test_a_block_of_one_layer_is_called_that():
    inner = nn.Sequential(nn.Dropout(), nn.Linear(2, 2))
    assert cells(layer_table(priced(nn.Sequential(inner), (2,)), depth=1))[0][:2] == ["0", "1 layer"]


def test_a_field_that_is_a_bound_is_marked():
    network = nn.Sequential(nn.Upsample(size=3001, mode="linear", align_corners=True), nn.Conv1d(1, 1, 3))
    one = priced(network, (1, 1500))
    # x = 1499 i / 3000; three units read positions x - 1 + 1/3000 ... x + 2 1499/3000 + 1 - 1/3000
    assert cells(layer_table(one))[-2][-1] == "≤ 3 / 0.499667"
    assert dict(totals(one))["receptive field"].startswith("at most 3, stride 0.499667, start 0.5, up to 1")
    assert cells(comparison([one]))[0][-1] == "at most 3"


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
        as_text(layer_table(one)),
        as_text(rules_table(one)),
        *worked_answer(one),
        *dict(totals(one)).values(),
    ]
    assert not any("\x1b" in text for text in (page, *texts))


def test_the_parts_of_a_page_by_hand():
    """A layer, a block of two, a layer: parameters 12, 6 and 15 of 33, MACs 48, 16 and 15 of 79."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Conv1d(1, 4, 3, bias=False)
            self.block = nn.Sequential(nn.Conv1d(4, 1, 1, bias=False), nn.BatchNorm1d(1))
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.block(self.one(x)))

    figures, first, first_rules, block, last, last_rules = cost_parts(priced(Net(), (1, 6)))
    assert cells(figures)[0] == ["parameters", "33, and 3 values in buffers"]
    assert first.header == ("layer", "type", "output", "parameters", "%", "buffers", "MACs", "%", "other",
                            "activations", "field/stride")  # fmt: skip
    row = ["one", "Conv1d", "4x4", "12", "36.36", "0", "48", "63.16", "0", "16", "3 / 1"]
    assert cells(first) == [row]
    assert [name for name, _ in cells(first_rules)] == ["one", ""]
    assert block.title == "block: 6 parameters (18.18 %), 16 MACs (21.05 %), 2 layers"
    assert cells(block.parts[0]) == [
        ["block.0", "Conv1d", "1x4", "4", "12.12", "0", "16", "21.05", "0", "4", "3 / 1"],
        ["block.1", "BatchNorm1d", "1x4", "2", "6.06", "3", "0", "0.00", "8", "4", "3 / 1"],
    ]
    assert cells(last) == [["head", "Linear", "1x3", "15", "45.45", "0", "12", "15.79", "3", "3", ""]]
    assert [name for name, _ in cells(last_rules)] == ["head", "", ""]


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
    _, figures, rules = cost_parts(small)
    assert cells(figures)[:2] == [
        ["0", "Conv2d", "64x64x64", *("4,864", "0.03", "0"), *("19,660,800", "4.35", "262,144"),
         *("262,144", "5x5 / 2")],
        ["1", "ReLU", "64x64x64", *("0", "0.00", "0"), *("0", "0.00", "262,144"), *("262,144", "5x5 / 2")],
    ]  # fmt: skip
    assert cells(rules) == cells(rules_table(small))
    normalised = cells(cost_parts(priced(nn.BatchNorm2d(4), (4, 3, 3)))[1])[0]
    assert normalised[3:] == ["8", "100.00", "9", "0", "-", "72", "36", "1x1 / 1"]
    assert "Cost side by side" in page
    assert "Side by side" not in cost_page([small])
