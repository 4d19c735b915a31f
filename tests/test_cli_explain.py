"""``concord explain``: one page about a network, and its facts as JSON."""

import json
import re

import pytest
from run_made import call

import concord
from concord.errors import UsageError
from concord.runs.cost_inputs import own_name, usual_channels, usual_classes
from concord.zoo.build import build


def network_of(name):
    own = own_name(name)
    return build(name, channels=usual_channels(own), classes=usual_classes(own))


def sections(page):
    return re.findall(r'<section id="([\w-]+)"', page)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("peephole_lstm(hidden=4)", ["unfolded", "equations", "gradients", "layers", "about"]),
        ("convlstm_256(width=4)", ["unfolded", "equations", "gradients", "layers", "about"]),
        ("tcn_mnist(width=3)", ["levels", "equations", "layers", "about"]),
        ("lenet5", ["layers", "about"]),
        ("multimodal_densenet", ["layers", "about"]),
        ("torchvision/resnet18", ["layers"]),
    ],
)
def test_a_page_has_the_sections_of_its_kind_and_asks_nothing_of_the_network(
    name, expected, tmp_path, capsys
):
    file = tmp_path / "page.html"
    status, out, _ = call(capsys, "explain", name, "--to", file)
    page = file.read_text()
    assert status == 0
    assert str(file) in out
    assert sections(page) == ["summary", *expected]
    assert not re.search(r'(src|href)="(?!#|data:,)', page)
    assert "<script" not in page
    assert f"{concord.cost_of(name).parameters:,}" in page


def test_indices_stand_below_the_line_and_options_change_the_equations(tmp_path):
    pages = {}
    for name in ("lstm(hidden=4)", "peephole_lstm(hidden=4)"):
        concord.explain(name, tmp_path / "page.html")
        pages[name] = (tmp_path / "page.html").read_text()
    peephole = "<i>p</i><sub><i>o</i></sub> ∘ <i>c</i><sub><i>t</i></sub>"
    assert [peephole in page for page in pages.values()] == [False, True]


def test_json_holds_the_facts_and_no_page_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, out, _ = call(capsys, "explain", "gru_before(hidden=7,layers=2)", "--json")
    facts = json.loads(out)
    net = network_of("gru_before(hidden=7,layers=2)")
    assert status == 0
    assert list(tmp_path.iterdir()) == []
    assert facts["page"] is None
    assert facts["parameters"] == sum(p.numel() for p in net.parameters())
    assert [(c["path"], c["type"], c["parameters"]) for c in facts["cells"]] == [
        (f"body.cells.{k}", "GRU", sum(p.numel() for p in cell.parameters()))
        for k, cell in enumerate(net.body.cells)
    ]
    assert facts["cells"][0]["equations"][-1] == "h_t = (1 - z_t) ∘ h_{t-1} + z_t ∘ n_t"
    assert (facts["input"], facts["output"]) == ([784, 1], [10])
    assert facts["steps_seen"] == {"past": None, "future": 0}
    assert facts["unfolded"]["steps"] == 4
    states = [arrow for arrow in facts["unfolded"]["arrows"] if arrow["passes"] == "state"]
    assert len(states) == 2 * 3
    above = {"row": "body.cells.1", "step": 2}, {"row": "body.cells.1", "step": 3}
    assert {"source": above[0], "target": above[1], "passes": "state", "label": "h"} in states
    assert facts == {
        **json.loads(json.dumps(concord.explain("gru_before(hidden=7,layers=2)").to_dict())),
        "page": None,
    }


def test_json_and_a_page_can_both_be_asked_for(tmp_path, capsys):
    file = tmp_path / "page.html"
    _, out, _ = call(capsys, "explain", "tcn_copy(width=3,levels=2,kernel=3)", "--to", file, "--json")
    facts = json.loads(out)
    assert facts["page"] == str(file)
    assert file.exists()
    assert facts["levels"] == [{"dilation": 1, "steps_seen": 5}, {"dilation": 2, "steps_seen": 13}]
    assert facts["steps_seen"] == {"past": 12, "future": 0}
    assert facts["unfolded"] is None


@pytest.mark.parametrize(
    "case",
    [
        ("lstm", (10,)),
        ("blstm_segments", (300, 61)),
        ("char_tcn", (400, 65)),
        ("convlstm_128_128", (10, 1, 64, 64)),
        ("lenet5", (10,)),
        ("multimodal_densenet", (10,)),
        ("yolo_small_v3", (24, 15, 20), (24, 30, 40)),
    ],
)
def test_the_outputs_are_those_of_a_forward_pass(case):
    name, *expected = case
    explained = concord.explain(name)
    assert list(explained.outputs) == expected
    shapes = [list(shape) for shape in expected]
    assert explained.to_dict()["output"] == (shapes if len(shapes) > 1 else shapes[0])


def test_the_page_lies_beside_where_the_command_ran(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(capsys, "explain", "rnn(hidden=3)")[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["rnn-hidden-3.html"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lsmt"], "did you mean 'lstm'"),
        (["lstm(width=3)"], "hidden=N, layers=N"),
        (["mine.py:Net"], "concord cost mine.py:Net"),
        (["lstm", "--to", "page.pdf"], "must end in .html"),
        (["lstm", "--to", "."], "is a folder"),
        (["lstm", "gru"], "unexpected argument 'gru'"),
        ([], "NETWORK"),
    ],
)
def test_what_cannot_be_explained_is_refused(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, _, err = call(capsys, "explain", *arguments)
    assert status == UsageError.exit_status == 2
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_the_help_shows_a_whole_line(capsys):
    status, out, _ = call(capsys, "explain", "--help")
    assert status == 0
    assert "concord explain lstm --to lstm.html" in " ".join(out.split())
