"""The tool that compares the arms of a study under attack: its figures on made networks, its refusals."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from attack_made import network

from concord.attack.fgsm import fgsm
from concord.attack.gradient import away
from concord.data.images.images import Images
from concord.report.tables import as_text
from concord.runs.attack_plan import plan_of
from concord.runs.pixels import unit


def loaded():
    path = Path(__file__).parents[1] / "tools" / "robustness_study.py"
    spec = importlib.util.spec_from_file_location("robustness_study", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["robustness_study"] = module
    spec.loader.exec_module(module)
    return module


study = loaded()
EPS = 0.2
FGSM = {"FGSM 0.2": (plan_of("fgsm", [EPS]), EPS)}


def made_cell(cost="none", weight=0.0, seed=0):
    return SimpleNamespace(cost=cost, weight=weight, members=("a", "b"), seed=seed)


def test_the_figures_of_a_run_are_those_of_its_networks_attacked_by_hand():
    pixels = torch.randint(256, (61, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    x = unit(pixels)
    a, b, other = network(0), network(1), network(2)
    labels = a(x).argmax(1) * (torch.arange(61) > 4)  # some it gets wrong anyway
    networks = {"a": a, "b": lambda x: b(x.round()), f"{study.OTHER} b": other}
    figures = study.Figures()
    images = Images(pixels, labels, ("0", "1", "2"), range(61))
    study.attack_cell(figures, made_cell("l2", 0.01, seed=3), networks, images, FGSM)
    changed = fgsm(away(a, labels), x, EPS)
    before, after = ([net(z).argmax(1) == labels for net in networks.values()] for z in (x, changed))
    errors, clean = (figures.errors[name]["l2 0.01"] for name in ("FGSM 0.2", "no attack"))
    assert errors["a"][3] == pytest.approx((~after[0]).double().mean().item())
    assert clean["a"][3] == pytest.approx((~before[0]).double().mean().item())
    assert list(errors) == ["a", "b"]
    fooled, found = before[0] & ~after[0], figures.transfer["FGSM 0.2"]
    for i, row in ((1, "l2 0.01"), (2, f"l2 0.01, {study.OTHER}")):
        share = (fooled & before[i] & ~after[i]).sum() / (fooled & before[i]).sum()
        assert found[row]["a -> b"][3] == pytest.approx(share.item())
    assert {name: row[3] for name, row in figures.stuck["l2 0.01"].items()} == {"a": 0, "b": 1}
    logits = a(x).tolist()
    margins = [row[y] - max(row[:y] + row[y + 1 :]) for row, y in zip(logits, labels.tolist(), strict=True)]
    assert figures.margin["l2 0.01"]["a"][3] == pytest.approx(sorted(margins)[30], abs=1e-5)


def test_the_table_has_means_and_differences_paired_by_seed():
    rows = {"l2 0.01": {"a": {0: 0.3, 1: 0.5}}, "none": {"a": {0: 0.2, 1: 0.2, 2: 0.9}, "b": {0: 0.25}}}
    text = as_text(study.table("errors", rows))
    first, mean, difference = [line.split("  ") for line in text.splitlines()[4:]]
    assert first[0] == "none"
    assert "43.33 (-57.06 to 143.73)" in " ".join(first)  # 43.33 -+ 4.303 * 40.41 / sqrt(3)
    assert "25.00" in first[-1]
    assert mean[0] == "l2 0.01"
    assert difference[0] == "l2 0.01, difference"
    assert "+20.00 (-107.06 to +147.06), p 0.3" in " ".join(difference)  # 10 and 30 points
    nats = as_text(study.table("margin", {"none": {"a": {0: 12.344}}}, study.nats, study.signed_nats))
    assert "12.34" in nats


SETTINGS = """
[data]
source = "digits"
[[members]]
name = "a"
network = "noel2017_st"
[[members]]
name = "b"
network = "noel2017_m"
[study]
seeds = [0]
[[study.arms]]
cost = "l2"
weights = [0.01]
"""


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nowhere"], 2, "nowhere: no such folder"),
        (["empty"], 2, "study.toml: no such configuration file"),
        (["begun"], 3, "begun has no finished run of several members"),
        (["begun", "--arms", "none,l2"], 2, "no arm 'l2'"),
        (["begun", "--limit", "0"], 2, "--limit must be at least 1"),
        (["begun", "--eps", "8"], 2, "--eps 8/255"),
    ],
)
def test_what_cannot_be_studied_is_told_without_a_traceback(arguments, status, said, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "study.toml").write_text(SETTINGS)
    assert study.main([str(tmp_path / arguments[0]), *arguments[1:]]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_a_finished_run_is_reported_and_its_figures_are_kept(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "begun"
    folder.mkdir()
    (folder / "study.toml").write_text(SETTINGS)
    cells = study.grid.cells(*study.grid.parse(study.toml.read(folder / "study.toml")), folder / "cells")
    for cell in cells:
        (folder / "cells" / cell.name).mkdir(parents=True)
        (folder / "cells" / cell.name / "result.json").write_text("{}")
    pixels = torch.randint(256, (6, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = Images(pixels, torch.arange(6) % 3, ("0", "1", "2"), range(len(pixels)))
    monkeypatch.setattr(study, "load_all", lambda folders, allow_code: folders)
    monkeypatch.setattr(study, "images_of", lambda *a: images)
    monkeypatch.setattr(study, "networks_of", lambda *a: {"a": network(0), "b": network(1)})
    assert study.main([str(folder), "--eps", "0.1", "--steps", "2", "--arms", "l2 0.01"]) == 0
    out, err = capsys.readouterr()
    assert "Median margin" in out
    assert "| l2 0.01 |" in out
    assert "none" not in out
    assert err == "a+b_l2-0.01_seed0: done\n"
    kept = json.loads((tmp_path / "begun.robustness.json").read_text())
    assert set(kept["members"]["a + b"]["errors"]) == {"no attack", "FGSM 0.1", "PGD 0.1, 2 steps"}
    assert set(kept["members"]["a + b"]["margin"]["l2 0.01"]) == {"a", "b"}
