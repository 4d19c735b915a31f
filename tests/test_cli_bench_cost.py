"""The other tools of ``concord bench cost``, as far as they are installed, and the table that it prints."""

import pytest

from concord.bench import cost as bench_cost
from concord.cli import bench_cost as command

# What each calls the multiply-accumulates of VGG-16 at 3x224x224; exact: 15,470,264,320.
VGG16 = {
    "torchinfo": 15_483_821_032,
    "fvcore": 15_470_289_408,
    "ptflops": 15_523_225_576,
    "thop": 15_470_314_496,
}


def test_every_tool_has_its_printed_total():
    assert VGG16.keys() == bench_cost.TOOLS.keys()


@pytest.mark.parametrize("tool", VGG16)
def test_a_tool_gives_its_own_total_of_vgg16(tool, monkeypatch):
    pytest.importorskip(tool)
    monkeypatch.setattr(bench_cost, "NETWORKS", ("vgg16",))
    monkeypatch.setattr(bench_cost, "TOOLS", {tool: bench_cost.TOOLS[tool]})
    measured = bench_cost.bench_cost(1)
    row = measured["networks"]["vgg16"]
    assert row["macs"][tool] == VGG16[tool]
    assert row["macs"]["concord"] == 15_470_264_320
    assert row["times_faster_than_the_fastest"] == pytest.approx(
        row["milliseconds"][tool] / row["milliseconds"]["concord"]
    )
    assert measured["not_installed"] == []


def test_every_tool_gets_a_real_network_and_takes_its_turn(monkeypatch):
    def weights(network):
        assert not network.training
        return sum(p.numel() for p in network.parameters() if not p.is_meta)

    monkeypatch.setattr(bench_cost, "NETWORKS", ("mobilenet_v2",))
    monkeypatch.setattr(bench_cost, "TOOLS", {"json": weights, "no_such_tool": weights})
    measured = bench_cost.bench_cost(2)
    row = measured["networks"]["mobilenet_v2"]
    assert row["macs"]["json"] == 3_504_872  # its parameters: the tool that stands in counts these
    assert row.keys() >= {"times_faster_than_the_fastest", "large_over_small"}
    assert measured["not_installed"] == ["no_such_tool"]


def test_medians_of_rounds_and_ratios_within_each():
    rounds = [(0.5, 0.6, 2.0, 3.0), (0.25, 0.2, 2.0, 1.0), (1.0, 1.5, 9.0, 8.0)]
    names = ("concord", "concord at 1024", "thop", "fvcore")
    taken = [{n: (t, 7) for n, t in zip(names, times, strict=True)} for times in rounds]
    summed = bench_cost._summed(taken)
    assert summed["milliseconds"] == dict(zip(names, (500, 600, 2000, 3000), strict=True))
    assert summed["times_faster_than_the_fastest"] == 4  # of 4, 4 and 8
    assert summed["large_over_small"] == 1.2  # of 1.2, 0.8 and 1.5


def test_the_printed_table_says_what_a_larger_picture_costs(monkeypatch, capsys):
    row = {
        "milliseconds": {"concord": 40.0, "concord at 1024": 42.0, "thop": 128.0},
        "macs": {"concord": 5, "concord at 1024": 100, "thop": 7_000},
        "times_faster_than_the_fastest": 3.2,
        "large_over_small": 1.05,
    }
    measured = {"torch": "2", "networks": {"net": row}, "not_installed": ["fvcore"]}
    monkeypatch.setattr(bench_cost, "bench_cost", lambda rounds: measured)
    command.cost_command(rounds=3, json_=False)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line]
    assert lines == [
        "build + count, milliseconds, median of 3 rounds; torch 2",
        "net",
        "concord 40.0 5 MACs",
        "concord at 1024 42.0 100 MACs",
        "thop 128.0 7,000 MACs",
        "at 3x1024x1024 1.05 times the time of 3x224x224",
        "3.2 times as fast as the fastest of the others",
        "not installed: pip install fvcore",
    ]
