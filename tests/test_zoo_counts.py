"""Counts of the zoo equal those that papers print, in as many digits, or differ for a stated reason."""

import runpy
from pathlib import Path

import pytest

from concord.runs.costs import cost_of

ROOT = Path(__file__).parents[1]
TOOL = runpy.run_path(str(ROOT / "tools" / "counts_table.py"))
ROWS, Row, CUT = TOOL["ROWS"], TOOL["Row"], TOOL["CUT"]


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.network}{r.input}{r.part}-{r.figure}-{r.printed}")
def test_ours_is_the_printed_figure_unless_a_reason_is_given(row):
    equal = row.rounded(row.ours) == row.value
    assert equal != bool(row.why)
    if row.why == CUT:
        step = row.unit // 10 ** len(row.printed.partition(".")[2])
        assert row.ours // step * step == row.value


def test_the_document_is_the_table():
    written = (ROOT / "docs" / "results" / "counts.md").read_text(encoding="utf-8")
    assert written == TOOL["document"](), "the counts have changed: run  python tools/counts_table.py"


def test_figures_are_rounded_to_their_last_digit():
    of_millions = Row("", "", "1.0", 10**6, "")
    assert [of_millions.rounded(n) for n in (949_999, 950_000, 1_049_999, 1_050_000)] == [
        900_000,
        1_000_000,
        1_000_000,
        1_100_000,
    ]
    assert Row("", "", "50", 1000, "", step=10_000).rounded(44_999) == 40_000
    assert Row("", "", "1,248,424", 1, "").rounded(1_248_423) == 1_248_423
    assert Row("", "", "1,248,424", 1, "").value == 1_248_424
    assert Row("", "", "0.27", 10**6, "").value == 270_000


def total(network, figure, kept):
    return sum(getattr(layer, figure) for layer in cost_of(network).cost.layers if kept(layer))


def test_reasons_for_a_difference_hold():
    assert total("lenet5", "parameters", lambda x: x.path != "output") == 60_000
    assert total("vgg16", "macs", lambda x: x.type == "Conv2d") == 15_346_630_656
    assert total("resnet34", "macs", lambda x: "downsample" not in x.path) == 3_644_493_824
    assert total("mobilenet_v2", "parameters", lambda x: x.type != "BatchNorm2d") == 3_470_760
    separable = total("three_layer_separable", "macs", lambda x: x.path.startswith("features.conv2"))
    assert separable == 32 * 32 * 64 * 25 + 8_388_608
