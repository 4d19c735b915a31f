"""The model card: its header is what the hub reads, its figures are the run's, nothing breaks out."""

from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from concord.report.card import Card, model_card
from concord.report.records import MemberView, RunView
from concord.report.tables import paragraph

huggingface_hub = pytest.importorskip("huggingface_hub", reason="comes with timm: make install")

EVIL = "<script>|\x1b[2J"
SMALL = {"test_error": 0.02, "nll": 0.08, "ece": 0.011}
LARGE = {"test_error": 0.01, "nll": 0.05, "ece": 0.013}
TOGETHER = {"test_error": 0.015, "nll": 0.04, "ece": 0.012}
FGSM = {
    "eps": [0.1],
    "samples": 150,
    "networks": {
        "s": {"clean_error": {"share": 0.025}, "points": [{"error": {"share": 0.62}}]},
        "l": {"clean_error": {"share": 0.0125}, "points": [{"error": {"share": 0.51}}]},
    },
    "notices": ["mind the zeros"],
}


def result(small=SMALL, large=LARGE, together=TOGETHER):
    return {
        "members": {"s": small, "l": large},
        "ensemble": together,
        "epochs": 3,
        "checkpoint": "step-00000042",
        "fingerprint": "5c1d",
        "notices": ["images resized to 28x28"],
    }


def run(name="first", source="photos", **settings):
    members = (MemberView("s", "lenet5", 61_706, 416_520), MemberView("l", "noel2017_m", 274_618, 28_011_392))
    config = {
        "data": {"source": source, "valid": 0.1},
        "members": [{"name": "s", "network": "lenet5"}, {"name": "l", "network": "noel2017_m"}],
        "consensus": {"cost": "l2", "weight": 0.01},
        "train": {"epochs": 3, "optimizer": {"kind": "adam", "lr": 0.002}, "precision": "bfloat16"},
        **settings,
    }
    stamp = {"versions": {"concord": "0.1.0"}, "device": "cpu", "started": "2026-01-02T03:04:05+00:00"}
    return RunView(name, config, stamp, result(), (), members)


def card(**changes):
    sizes = {"s": 248_000, "l": 1_100_000}
    return replace(Card(run(), (1, 28, 28), ("cat", "dog"), samples=200, weight_bytes=sizes), **changes)


def section(text, title):
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def parsed(text):
    """The kinds of blocks that a Markdown parser finds below the header."""
    return [token.type for token in MarkdownIt("commonmark").enable("table").parse(text.split("---\n", 2)[2])]


def test_the_hub_reads_an_accuracy_for_every_column():
    data = huggingface_hub.ModelCard(model_card(card())).data
    assert (data.pipeline_tag, data.tags) == ("image-classification", ["concord", "lenet5", "noel2017_m"])
    assert data.model_name == "first"
    found = {r.metric_name: (r.metric_value, r.dataset_name) for r in data.eval_results}
    assert found == {
        "accuracy of s": (0.98, "photos"),
        "accuracy of l": (0.99, "photos"),
        "accuracy of ensemble": (0.985, "photos"),
    }


def test_scores_stand_with_costs_and_the_interval_of_wilson():
    # 4 of 200 wrong, z = 1.96: centre (0.02 + z^2/400) / (1 + z^2/200), half width
    # z sqrt(0.02 0.98/200 + (z/400)^2) / (1 + z^2/200): 0.0078 to 0.0503
    told = section(model_card(card()), "Test scores")
    assert "| s | 61,706 | 416,520 | 248,000 | 2.00 | 0.78 to 5.03 | 0.0800 | **0.0110** |" in told
    assert "| ensemble | 336,324 | 28,427,912 | 1,348,000 | 1.50 |" in told
    assert "**1.00**" in told  # the smallest error
    assert "200 test images" in told
    assert "One training with one seed" in told


def test_other_seeds_give_mean_and_standard_deviation():
    others = (result(small={**SMALL, "test_error": 0.03}), result(small={**SMALL, "test_error": 0.07}))
    told = section(model_card(card(others=others)), "Test scores")
    assert "3 trainings that differ by their seed" in told
    assert "| s | 4.00 | 2.65 | 2.00 | 7.00 |" in told  # of 2, 3, 7: sqrt((4 + 1 + 9) / 2)
    assert "| ensemble | 1.50 | 0.00 |" in told


def test_an_attack_is_shown_or_the_command_that_makes_one():
    told = section(model_card(card()), "Adversarial images")
    assert "$ concord attack RUN --eps 0.05,0.1" in told
    told = section(model_card(card(fgsm=FGSM)), "Adversarial images")
    assert "| s | 2.50 | 62.00 |" in told
    assert "150 test images" in told
    assert "float32, scores in bfloat16" in told
    assert "mind the zeros" in told
    assert "Not measured" not in told


def test_data_and_training_are_named():
    text = model_card(card())
    data, training = section(text, "Data"), section(text, "Training")
    for row in ("| source | photos |", "| test images | 200 |", "5c1d |"):
        assert row in data
    assert "| consensus.weight | 0.01 |" in training
    assert "| train.optimizer.lr | 0.002 |" in training
    assert "Started 2026-01-02T03:04:05+00:00 on cpu with concord 0.1.0" in training
    assert "images resized to 28x28" in training
    assert "It took 3 epochs; the weights are those of its step-00000042." in text


def test_one_network_alone_has_no_ensemble():
    alone = replace(run(), members=run().members[:1])
    text = model_card(card(run=alone, weight_bytes={"s": 248_000}))
    assert [r.metric_name for r in huggingface_hub.ModelCard(text).data.eval_results] == ["accuracy of s"]
    assert "| ensemble |" not in text


def test_early_stopping_is_told():
    stopped = run(train={"epochs": 8, "patience": 2, "precision": "float32"})
    assert "step-00000042, the best by validation error." in model_card(card(run=stopped))


def test_the_commands_take_the_smallest_that_learned_and_allow_its_code():
    told = section(model_card(card()), "How to use it").splitlines()
    assert "$ concord predict RUN photo.png --member s" in told
    assert "$ concord export RUN --member s --to s.onnx" in told
    members = [
        {"name": "s", "network": "lenet5", "retired": True},
        {"name": "l", "network": "my.nets:large", "pretrained": False},
    ]
    views = (run().members[0], replace(run().members[1], network="my.nets:large"))
    odd = replace(run("-x", members=members), members=views)
    told = section(model_card(card(run=odd)), "How to use it").splitlines()
    assert "$ concord predict RUN photo.png --member l --allow-code my.nets:large" in told


def test_a_teacher_and_one_that_retired_are_named_as_such():
    members = [
        {"name": "s", "network": "lenet5", "retired": True, "pretrained": True},
        {"name": "l", "network": "noel2017_m", "teacher": "old:big"},
    ]
    text = model_card(card(run=run(members=members)))
    told = section(text, "Training")
    assert "| s | lenet5 | yes | retired before the end |" in told
    assert "| l | noel2017\\_m | no | teacher with the weights of old:big |" in told
    assert "first trained s (lenet5, 61,706 parameters) on photos, taught by l, with" in text


@pytest.mark.fault(24)
@pytest.mark.parametrize("name", ["~~~", "1. my run", "# big", "> q", "- x", "=", "```", "a | b"])
def test_no_name_of_a_run_changes_the_blocks_of_the_page(name):
    assert parsed(model_card(card(run=run(name), fgsm=FGSM))) == parsed(model_card(card(fgsm=FGSM)))


@pytest.mark.parametrize(
    "text", ["~~~", "1. a", "12) a", "# a", "> a", "- a", "+ a", "= a", "* a", "```", "  - a"]
)
def test_a_paragraph_stays_one(text):
    tokens = MarkdownIt("commonmark").parse("before\n\n" + paragraph(text))
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"] * 2


def test_names_cannot_break_out_of_header_text_table_or_command():
    source = f'{EVIL}": [\u202e\U000e0001\x85'
    text = model_card(card(run=run(EVIL, source), classes=(EVIL, "`dog`\n# title")))
    data = huggingface_hub.ModelCard(text).data
    assert {r.dataset_name for r in data.eval_results} == {source}
    assert not any(c in text for c in "\x1b\u202e\U000e0001\x85")
    outside = [line for line in text.split("---\n", 2)[2].splitlines() if not line.startswith("$ ")]
    assert not any("<script" in line or line.startswith("# title") for line in outside)
    assert "| source | &lt;script>\\|\\\\x1b" in text
    assert "$ concord predict RUN photo.png" in text


def test_of_many_classes_the_first_are_named():
    told = section(model_card(card(classes=tuple(f"c{k}" for k in range(23)))), "What it is for")
    assert "one of 23 classes: c0, c1, " in told
    assert told.count("c19, and 3 more") == 1
