"""``concord report RUN --to MODEL_CARD.md`` on real runs."""

import json
import shutil

import pytest
import yaml
from data_made import write_image
from run_made import SETTINGS, Noted, call
from trust_made import sealed

import concord
from concord.errors import CheckpointError, UsageError


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Trainings that differ by their seed; by their weight; by their share of test images."""
    folder = tmp_path_factory.mktemp("cards")
    for name, seed, weight, test in (
        ("a", 0, 0.01, 0.2),
        ("b", 7, 0.01, 0.2),
        ("c", 1, 0.5, 0.2),
        ("d", 2, 0.01, 0.3),
    ):
        consensus = {"cost": "l2", "weight": weight}
        train = {**SETTINGS["train"], "epochs": 1, "seed": seed}
        data = {**SETTINGS["data"], "test": test}
        concord.train({**SETTINGS, "data": data, "consensus": consensus, "train": train}, folder / name)
    return folder


@pytest.fixture
def one(runs, tmp_path):
    """A copy of the first run, to be changed."""
    return shutil.copytree(runs / "a", tmp_path / "a")


def card_of(*runs, **options):
    written = concord.write_report(runs, runs[0] / "MODEL_CARD.md", **options)
    text = written.read_text()
    return yaml.safe_load(text.split("---\n")[1]), text


def damage(file, **changes):
    """Other values in a JSON file."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_the_card_has_the_figures_of_the_run_and_no_path_of_this_machine(one, monkeypatch):
    result = json.loads((one / "result.json").read_text())
    monkeypatch.chdir(one)
    text = concord.write_report(["."], "card.md").read_text()
    fields = yaml.safe_load(text.split("---\n")[1])
    (told,) = fields["model-index"]
    errors = [result["members"]["ST"]["test_error"], result["members"]["B"]["test_error"]]
    assert told["name"] == "a"
    assert [row["value"] for row in told["results"][0]["metrics"]] == [
        1 - e for e in [*errors, result["ensemble"]["test_error"]]
    ]
    size = next((one / "ckpt" / result["checkpoint"]).glob("member-ST.*")).stat().st_size
    assert f"| ST | 44,730 | {result['members']['ST']['macs']:,} | {size:,} |" in text
    assert "359 test images" in text
    assert str(one.parent) not in text


def test_of_a_source_and_of_what_is_told_about_it_the_last_part_is_named(one):
    file = one / "config.toml"
    file.write_text(file.read_text().replace('source = "digits"', 'source = "/home/somebody/photos"'))
    damage(one / "result.json", notices=["/home/somebody/photos lacks a batch"])
    sealed(one)
    fields, text = card_of(one)
    assert fields["model-index"][0]["results"][0]["dataset"]["name"] == "photos"
    assert "photos lacks a batch" in text
    assert "somebody" not in text


def test_runs_with_other_seeds_tell_the_spread(runs, tmp_path):
    errors = [json.loads((runs / r / "result.json").read_text())["ensemble"]["test_error"] for r in "ab"]
    other = shutil.copytree(runs / "b", tmp_path / "b")
    file = other / "config.toml"
    file.write_text(file.read_text().replace("threads = 1", "threads = 2"))  # of another machine
    sealed(other)
    _, text = card_of(runs / "a", other)
    assert f"| ensemble | {50 * sum(errors):.2f} |" in text
    assert "2 trainings that differ by their seed" in text


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ("c", r"c differs from .*consensus.weight: 0.01 -> 0.5"),
        ("d", r"d differs from .*data.test: 0.2 -> 0.3; other data"),
        ("a", r"has the seed of another run \(0\)"),
        ("bb", r"has the seed of another run \(7\)"),
    ],
)
def test_runs_that_are_not_one_training_with_other_seeds_are_refused(runs, others, message):
    with pytest.raises(UsageError, match=message):
        card_of(runs / "a", *(runs / other for other in others))


def test_runs_on_other_data_under_the_same_settings_are_refused(runs, tmp_path):
    other = shutil.copytree(runs / "b", tmp_path / "b")
    damage(other / "result.json", fingerprint="0" * 64)
    sealed(other)
    with pytest.raises(UsageError, match="other data"):
        card_of(runs / "a", other)


def test_an_attack_on_these_weights_is_in_the_card_and_others_are_not(one, runs, tmp_path):
    concord.attack_runs([one], eps=[0.1], limit=40)
    assert "error in % on 40 test images" in card_of(one)[1]

    file = one / "attack" / "fgsm" / "attack.json"
    sound = json.loads(file.read_text())
    for name in map(str, range(10)):
        for k in range(4):
            write_image(tmp_path / "noise" / name / f"{k}.png", 20 * k + 7 * int(name))
    concord.attack_runs([one, runs / "b"], eps=[0.1], limit=40, out=file.parent)
    several = json.loads(file.read_text())
    concord.attack_runs([one], eps=[0.1], data=str(tmp_path / "noise"), out=file.parent)
    elsewhere = json.loads(file.read_text())
    others = ({"checkpoints": ["step-00000001"]}, {"weights": ["0" * 64]})
    for figures in (several, elsewhere, *({**sound, **other} for other in others)):
        file.write_text(json.dumps(figures))
        sealed(one)
        noted = Noted()
        assert "Not measured" in card_of(one, observer=noted)[1]
        assert "of other runs, weights or images" in noted.notices[0]
    for figures in ({**sound, "networks": {"ST": {}}}, {k: v for k, v in sound.items() if k != "own_test"}):
        file.write_text(json.dumps(figures))
        sealed(one)
        noted = Noted()
        assert "Not measured" in card_of(one, observer=noted)[1]
        assert "attack.json is of an older version" in noted.notices[0]


def test_a_run_that_is_not_complete_says_how_to_finish_it(one):
    (one / "result.json").unlink()
    with pytest.raises(CheckpointError, match="concord resume"):
        card_of(one)


@pytest.mark.parametrize(
    "change",
    [
        {"members": {}},
        {"members": [1]},
        {"ensemble": {"test_error": 7, "nll": 0.1, "ece": 0.1}},
        {"ensemble": {"test_error": None, "nll": 0.1, "ece": 0.1}},
        {"notices": "abc"},
    ],
)
def test_a_damaged_result_is_told(one, change):
    damage(one / "result.json", **change)
    with pytest.raises(CheckpointError, match=r"result\.json: damaged"):
        card_of(one)


def test_weights_cut_short_are_told(one):
    file = next(one.glob("ckpt/*/member-ST.safetensors"))
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="member-ST"):
        card_of(one)


def test_class_names_are_those_under_the_manifest(one):
    file = one / "interface.json"
    damage(file, classes=["zebra"] * 10)
    noted = Noted()
    assert "zebra" not in card_of(one, observer=noted)[1]
    assert "is not as the run was made with" in noted.notices[0]


@pytest.mark.parametrize("lost", [False, True])
def test_a_card_does_without_a_stamp(lost, one):
    damage(one / "stamp.json", versions=[])
    sealed(one)
    if lost:
        (one / "stamp.json").unlink()
    noted = Noted()
    assert "Begun" not in card_of(one, observer=noted)[1]
    assert "stamp.json is missing or of an older version" in noted.notices[0]


def test_a_run_without_predictions_says_how_to_make_them(one):
    (one / "predictions.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"remove result.json from the folder, then `concord resume"):
        card_of(one)


def test_the_command_says_what_it_wrote_and_refuses_a_study_and_what_has_no_effect(one, tmp_path, capsys):
    status, out, _ = call(capsys, "report", one, "--to", tmp_path / "CARD.MD")
    assert (status, out.endswith("a model card\n")) == (0, True)
    status, _, err = call(capsys, "report", one, "--to", tmp_path / "card.md", "--data", "digits")
    assert (status, "neither --data nor --allow-code" in err) == (2, True)
    (one / "study.toml").write_text("")
    status, _, err = call(capsys, "report", one, "--to", tmp_path / "card.md")
    assert (status, "name the runs of one row" in err) == (2, True)
