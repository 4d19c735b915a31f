"""``concord report RUN --to MODEL_CARD.md`` on real runs."""

import json
import shutil

import pytest
import yaml
from test_cli_verbs import SETTINGS, call

import concord
from concord.errors import CheckpointError, UsageError


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two trainings that differ by their seed, and one with another weight."""
    folder = tmp_path_factory.mktemp("cards")
    settings = {**SETTINGS, "members": SETTINGS["members"][:2], "train": {**SETTINGS["train"], "epochs": 1}}
    for name, seed, weight in (("a", 0, 0.01), ("b", 7, 0.01), ("c", 0, 0.5)):
        consensus = {"cost": "l2", "weight": weight}
        train = {**settings["train"], "seed": seed}
        concord.train({**settings, "consensus": consensus, "train": train}, folder / name)
    return folder


@pytest.fixture
def one(runs, tmp_path):
    """A copy of the first run, to be changed."""
    return shutil.copytree(runs / "a", tmp_path / "a")


def card_of(*runs, **options):
    written = concord.write_report(runs, runs[0] / "MODEL_CARD.md", **options)
    text = written.read_text()
    return yaml.safe_load(text.split("---\n")[1]), text


def test_the_card_has_the_figures_of_the_run_and_no_path_of_this_machine(one):
    result = json.loads((one / "result.json").read_text())
    fields, text = card_of(one)
    accuracies = [row["results"][0]["metrics"][0]["value"] for row in fields["model-index"]]
    errors = [result["members"]["ST"]["test_error"], result["members"]["B"]["test_error"]]
    assert accuracies == [1 - e for e in [*errors, result["ensemble"]["test_error"]]]
    size = next((one / "ckpt" / result["checkpoint"]).glob("member-ST.*")).stat().st_size
    assert f"| ST | 44,730 | {result['members']['ST']['macs']:,} | {size:,} |" in text
    assert "359 test images" in text
    assert str(one.parent) not in text


def test_a_source_is_named_by_its_last_part(one):
    file = one / "config.toml"
    file.write_text(file.read_text().replace('source = "digits"', 'source = "/home/somebody/photos"'))
    fields, text = card_of(one)
    assert fields["model-index"][0]["results"][0]["dataset"]["name"] == "photos"
    assert "somebody" not in text


def test_runs_with_other_seeds_tell_the_spread(runs):
    errors = [json.loads((runs / r / "result.json").read_text())["ensemble"]["test_error"] for r in "ab"]
    _, text = card_of(runs / "a", runs / "b")
    assert f"| ensemble | {50 * sum(errors):.2f} |" in text
    assert "2 trainings that differ by their seed" in text


def test_runs_that_differ_by_more_than_their_seed_are_refused(runs):
    with pytest.raises(UsageError, match=r"(?s)c differs from .*consensus.weight: 0.01 -> 0.5"):
        card_of(runs / "a", runs / "c")


def test_an_attack_on_these_weights_is_in_the_card_and_one_on_others_is_not(one, capsys):
    concord.attack_runs([one], eps=[0.1], limit=40)
    _, text = card_of(one)
    assert "error in % on 40 test images" in text
    figures = one / "attack" / "fgsm" / "attack.json"
    figures.write_text(figures.read_text().replace('"step-', '"step-9'))
    _, text = card_of(one)
    assert "Not measured" in text
    assert "of other weights" in capsys.readouterr().err


def test_a_run_that_is_not_complete_says_how_to_finish_it(one):
    (one / "result.json").unlink()
    with pytest.raises(CheckpointError, match="concord resume"):
        card_of(one)


def test_a_run_without_votes_says_how_to_make_them(one):
    (one / "votes.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"remove result.json there, and `concord resume"):
        card_of(one)


def test_the_command_says_what_it_wrote_and_a_study_is_refused(one, tmp_path, capsys):
    status, out, _ = call(capsys, "report", one, "--to", tmp_path / "card.md")
    assert (status, out.endswith("a model card\n")) == (0, True)
    (one / "study.toml").write_text("")
    status, _, err = call(capsys, "report", one, "--to", tmp_path / "card.md")
    assert status == 2
    assert "name the runs of one row" in err
