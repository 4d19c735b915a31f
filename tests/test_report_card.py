"""The model card: its header is YAML that the hub reads, its figures are the run's, nothing breaks out."""

from dataclasses import replace

import pytest
import yaml

from concord.report.card import Card, model_card
from concord.report.records import MemberView, RunView

EVIL = "<script>|\x1b[2J"
SMALL = {"test_error": 0.02, "nll": 0.08, "ece": 0.011}
LARGE = {"test_error": 0.01, "nll": 0.05, "ece": 0.013}
TOGETHER = {"test_error": 0.015, "nll": 0.04, "ece": 0.012}


def result(small=SMALL, large=LARGE, together=TOGETHER):
    return {"members": {"s": small, "l": large}, "ensemble": together, "fingerprint": "5c1d", "notices": []}


def run(name="first"):
    members = (MemberView("s", "lenet5", 61_706, 416_520), MemberView("l", "noel2017_m", 274_618, 28_011_392))
    config = {
        "data": {"source": "photos", "valid": 0.1},
        "consensus": {"cost": "l2", "weight": 0.01},
        "train": {"epochs": 3, "optimizer": {"kind": "adam", "lr": 0.002}},
    }
    stamp = {
        "versions": {"concord": "0.1.0", "torch": "2.15.0", "python": "3.11.7"},
        "device": "cpu",
        "started": "2026-01-02T03:04:05+00:00",
    }
    return RunView(name, config, stamp, result(), [{"epoch": 3}], members)


def card(**changes):
    whole = Card(run(), (1, 28, 28), ("cat", "dog"), samples=200, bytes={"s": 248_000, "l": 1_100_000})
    return replace(whole, **changes)


def header(text):
    _, block, rest = text.split("---\n", 2)
    return yaml.safe_load(block), rest


def section(text, title):
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def test_the_header_is_yaml_with_an_accuracy_for_every_column():
    fields, _ = header(model_card(card()))
    assert fields["pipeline_tag"] == "image-classification"
    assert fields["tags"] == ["concord", "lenet5", "noel2017_m"]
    found = {row["name"]: row["results"][0]["metrics"][0]["value"] for row in fields["model-index"]}
    assert found == {"first: s": 0.98, "first: l": 0.99, "first: ensemble": 0.985}
    assert fields["model-index"][0]["results"][0]["dataset"]["name"] == "photos"


def test_scores_stand_with_costs_and_the_interval_of_wilson():
    # 4 of 200 wrong, z = 1.96: centre (0.02 + z^2/400) / (1 + z^2/200), half width
    # z sqrt(0.02 0.98/200 + (z/400)^2) / (1 + z^2/200): 0.0078 to 0.0503
    told = section(model_card(card()), "Test scores")
    assert "| s | 61,706 | 416,520 | 248,000 | 2.00 | 0.78 to 5.03 | 0.0800 |" in told
    assert "| ensemble | 336,324 | 28,427,912 | 1,348,000 | 1.50 |" in told
    assert "**1.00**" in told  # the smallest error
    assert "One training with one seed" in told


def test_other_seeds_give_mean_and_standard_deviation():
    others = (result(small={**SMALL, "test_error": 0.03}), result(small={**SMALL, "test_error": 0.07}))
    told = section(model_card(card(others=others)), "Test scores")
    assert "3 trainings that differ by their seed" in told
    assert "| s | 4.00 | 2.65 | 2.00 | 7.00 |" in told  # of 2, 3, 7: sqrt((4 + 1 + 9) / 2)
    assert "| ensemble | 1.50 | 0.00 |" in told


def test_an_attack_is_shown_or_the_command_that_makes_one():
    told = section(model_card(card()), "Images changed to mislead it")
    assert "$ concord attack first --eps 0.05,0.1" in told
    point = {"eps": 0.1, "error": {"share": 0.62}}
    fgsm = {
        "eps": [0.1],
        "samples": 150,
        "networks": {"s": {"clean_error": {"share": 0.025}, "points": [point]}},
        "notices": ["mind the zeros"],
    }
    told = section(model_card(card(fgsm=fgsm)), "Images changed to mislead it")
    assert "| s | 2.50 | 62.00 |" in told
    assert "150 test images" in told
    assert "mind the zeros" in told
    assert "Not measured" not in told


def test_one_network_alone_has_no_ensemble():
    alone = replace(run(), members=run().members[:1])
    fields, text = header(model_card(card(run=alone, bytes={"s": 248_000})))
    assert [row["name"] for row in fields["model-index"]] == ["first: s"]
    assert "| ensemble |" not in text


def test_names_cannot_break_out_of_header_text_table_or_command():
    evil = replace(run(name=EVIL), config={"data": {"source": f'{EVIL}": [\u202e\U000e0001\x85'}})
    text = model_card(card(run=evil, classes=(EVIL, "`dog`\n# title")))
    fields, rest = header(text)
    assert fields["model-index"][0]["results"][0]["dataset"]["name"] == f'{EVIL}": [\u202e\U000e0001\x85'
    assert not any(c in text for c in "\x1b\u202e\U000e0001\x85")
    outside = [line for line in rest.splitlines() if not line.startswith("$ ")]
    assert not any("<script" in line or "\n# title" in line for line in outside)
    assert "$ concord predict '<script>" in rest


def test_of_many_classes_the_first_are_named():
    told = section(model_card(card(classes=tuple(f"c{k}" for k in range(23)))), "What it is for")
    assert "one of 23 classes: c0, c1, " in told
    assert told.count("c19, and 3 more") == 1


@pytest.mark.parametrize("missing", ["consensus", "augment"])
def test_settings_that_a_run_does_not_have_are_left_out(missing):
    config = {key: value for key, value in run().config.items() if key != missing}
    told = section(model_card(card(run=replace(run(), config=config))), "Training")
    assert f"| {missing}" not in told
    assert "| train.optimizer | kind adam, lr 0.002 |" in told
    assert "torch 2.15.0" in told
