"""Wrong command lines are answered with what to type instead."""

import json
import subprocess
import sys

import pytest
import typer.main
from run_made import call

import concord
from concord.cli.app import app
from concord.runs import attack_plan, toml

GROUPS = typer.main.get_command(app)


def verbs(command=GROUPS, path=()):
    """(words, command) of every verb."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from verbs(inner, (*path, name))
    if path and not getattr(command, "commands", None):
        yield path, command


VERBS = dict(verbs())
LINES = {
    "a setting": (["train", "--lr", "0.1"], "--set train.optimizer.lr=0.1"),
    "a setting with an equals sign": (["train", "--size=32"], "--set data.size=32"),
    "a setting of one dash": (["train", "-lr", "0.1"], "--set train.optimizer.lr=0.1"),
    "a setting by its whole key": (["train", "--train.clip", "1"], "--set train.clip=1"),
    "a setting that is true or false": (["train", "--nesterov"], "--set train.optimizer.nesterov=true"),
    "a negative value": (["train", "--valid", "-0.5"], "--set data.valid=-0.5"),
    "a value with a space": (["train", "--source", "my data"], "--set 'data.source=my data'"),
    "a table": (["train", "--optimizer", "sgd"], "--set train.optimizer.kind=sgd"),
    "two settings": (
        ["study", "--seed", "3"],
        "--set data.seed=3 or --set train.seed=3",
    ),
    "another name of a setting": (["train", "--learning-rate", "1"], "--set train.optimizer.lr=1"),
    "another name of an option": (["train", "--alpha", "1"], "use --weight"),
    "a slip in a setting": (["train", "--label-smoothin", "0.1"], "--set train.label_smoothing=0.1"),
    "a slip in an option": (["train", "--epoch", "3"], "did you mean '--epochs'?"),
    "a setting of a study": (["study", "--alone"], "--set study.alone=true"),
    "nothing but the verb": (
        ["eval"],
        "Missing argument 'run', for example `concord eval runs/first --json`",
    ),
    "no file to write": (["export", "x"], "Missing option '--to', for example `concord export runs/first"),
    "a network without an option": (["train", "lenet5"], "members are given with --members lenet5, data"),
    "no member of that name": (
        ["train", "--members", "small=lenet5,big=lenet5", "--pretrained", "resnet18"],
        "no member has that name; the members are small, big",
    ),
    "no rounds": (["bench", "train", "--rounds", "0"], "--rounds must be at least 1"),
    "an arm without a weight": (["study", "--arm", "l2"], "give the weights of l2, for example 0.1 and 0.01"),
    "an arm with a word": (["study", "--arm", "l2:x"], "such as --arm l2:0.1,0.01"),
    "an arm of another name": (
        ["study", "--members", "lenet5,lenet5", "--arm", "mse:1"],
        "(did you mean 'l2'?), got 'mse'",
    ),
    "an arm of a negative weight": (["study", "--members", "lenet5,lenet5", "--arm", "l2:-1"], "-1"),
    "the arms of a study": (["study", "--arms", "l2:1"], "--arm"),
    "a setting of a run that exists": (
        ["resume", "x", "--epochs", "40"],
        "--set train.epochs=40 --allow-changes",
    ),
    "a setting of data": (["baseline", "knn", "--size", "8"], "--set data.size=8"),
    "a setting that a verb does not change": (["eval", "x", "--lr", "1"], "setting of `concord train`"),
    "an option of nobody": (["data", "check", "x", "--foo"], "no option --foo; `concord data check --help`"),
    "members with spaces": (["train", "--members", "a", "b"], "by commas, --members a,b"),
    "an option without dashes": (["train", "data=clean"], "use --data clean"),
    "a setting without --set": (["train", "lr=0.1"], "--set train.optimizer.lr=0.1"),
    "data without an option": (["train", "photos/"], "use --data photos/"),
    "a flag with a value": (["train", "--quiet", "true"], "--quiet takes no value"),
    "two runs": (["resume", "a", "b"], "unexpected argument 'b'"),
    "a verb of a group": (["data", "chekc"], "`concord data` has no verb 'chekc' (did you mean 'check'?)"),
    "a path in the place of a verb": (["data", "photos/"], "there are: check, get"),
    "an option of a group": (["bench", "--foo"], "no option --foo; options follow the verb"),
    "an option before the verb": (["--lr", "3"], "no option --lr; options follow the verb"),
    "help as a verb": (["help", "train"], "`concord --help`"),
    "version as a verb": (["version"], "did you mean `concord --version`?"),
    "images as an option": (["predict", "run", "--data", "x"], "name the images after the run"),
    "a size of a cost": (["cost", "resnet18", "--size", "32"], "use --input 3x32x32"),
    "a size among networks": (["cost", "resnet18", "3x32x32"], "given with --input"),
    "a file to export to": (["export", "run", "net.onnx"], "use --to net.onnx"),
    "a report among runs": (["report", "run", "out.html"], "given with --to out.html"),
    "a setting of a train option": (["eval", "x", "--batch-size", "1"], "--set train.batch_size=..."),
    "a folder of settings": (["train", "--config", "."], "is a folder; expected a TOML file"),
    "no number": (["train", "--epochs", "1.5"], "--epochs must be a whole number, got '1.5'"),
    "a number too small": (["predict", "r", "f", "--top", "0"], "--top must be at least 1, got '0'"),
    "no value": (["train", "--members"], "'--members' requires an argument"),
    "a missing argument": (["eval"], "concord eval --help"),
    "networks with commas": (["cost", "a,b"], "concord cost a b"),
    "networks of the zoo with commas": (["zoo", "a,b"], "concord zoo a b"),
    "baselines with commas": (["baseline", "knn,mlp", "--seed", "1"], "concord baseline knn mlp"),
    "channels last": (["cost", "noel2017_st", "--input", "32x32x3"], "use --input 3x32x32"),
    "channels last, accepted by the network": (["cost", "resnet20", "--input", "32x32x1"], "1x32x32"),
    "a weight without a cost": (["train", "--members", "a", "--weight", "0.1"], "--consensus l2"),
    "two members of one name": (["train", "--members", "s=a,s=b"], "2 members are called 's'"),
    "a name that is taken": (["train", "--members", "ensemble=a"], "'ensemble' is the name of all members"),
    "an unknown device": (["train", "--members", "a", "--device", "mps"], "must be auto, cpu, cuda, or"),
    "another word for a cost": (["train", "--members", "a", "--consensus", "MSE"], "(did you mean 'l2'?)"),
    "an unknown change": (["train", "--members", "a", "--set", "augment.trun=3"], "did you mean 'turn'"),
    "a zero below": (["attack", "x", "--eps", "8/0"], "4/255,8/255"),
    "eps of bytes": (["attack", "x", "--eps", "8"], "--eps 8/255"),
}


@pytest.mark.parametrize("case", LINES)
def test_a_wrong_line_is_answered_with_the_right_one(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line, words = LINES[case]
    status, out, err = call(capsys, *line)
    assert (status, out) == (2, "")
    assert words in err
    assert err.startswith("concord: ")
    assert err.count("\n") == 1
    status, out, _ = call(capsys, *line, "--json")
    if case != "no value":  # --json is the value there
        assert words in json.loads(out)["error"]


def test_swapped_names_of_members_are_noticed(tmp_path, capsys):
    line = ["train", "--members", "noel2017_st=small", "--out", tmp_path / "run"]
    status, _, err = call(capsys, *line)
    assert (status, "write small=noel2017_st" in err) == (2, True)


def test_every_setting_of_a_run_can_be_set_at_its_place():
    places = dict(toml.places())
    assert {"data.source", "train.optimizer.betas", "augment.hue", "adversarial.steps"} <= places.keys()
    assert not any(place.startswith("members") for place in places)
    assert [place for place, flag in places.items() if flag] == [
        "data.joint",
        "data.drop_duplicates",
        "augment.flip",
        "augment.turn",
        "detect.scales",
        "detect.direct",
        "train.optimizer.nesterov",
        "train.shuffle",
        "train.carry",
        "train.stacked",
        "train.deterministic",
    ]
    for place in places:
        tables = {"members": [{"name": "a", "network": "b"}]}
        toml.put(tables, place, object())
        with pytest.raises(concord.UsageError) as refused:
            toml.parse(tables)
        assert "unknown key" not in str(refused.value)


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_flags_show_no_type(words, capsys):
    status, out, _ = call(capsys, *words, "--help")
    assert status == 0
    assert "--json" in out
    assert "bool" not in out.lower()


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_the_whole_help_text_is_shown(words):
    """Words in square brackets are markup to rich, and long words are cut where a column is narrow."""
    command = [sys.executable, "-m", "concord", *words, "--help"]
    out = subprocess.run(command, capture_output=True, text=True).stdout
    shown = "".join(out.replace("│", " ").split())
    texts = [VERBS[words].help, *(option.help or "" for option in VERBS[words].params)]
    assert [word for text in texts for word in text.split() if word not in shown] == []


def test_a_path_that_is_not_a_run_is_named_for_what_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("runs/first", "study/cells", "own", "empty"):
        (tmp_path / name).mkdir(parents=True)
    for file in ("runs/first/config.toml", "study/study.toml", "own/ensemble.json", "file"):
        (tmp_path / file).touch()
    expected = {
        "nowhere": "the folder does not exist",
        "runs/frist": "the folder does not exist (did you mean 'first'?)",
        "runs": "runs in it: runs/first",
        "study": "it is a study, whose runs are the folders in study/cells",
        "own": "it is a saved ensemble; in Python, concord.load('own', members={...})",
        "file": "it is a file",
        "empty": "config.toml is missing",
    }
    for path, words in expected.items():
        for verb in ("eval", "resume"):
            status, _, err = call(capsys, verb, path)
            assert (status, err.startswith(f"concord: {path} is not a run folder: {words}")) == (4, True), err
    with pytest.raises(concord.CheckpointError, match="the folder does not exist"):
        concord.load("nowhere", members={"a": __import__("torch").nn.Linear(1, 1)})


def test_a_run_after_the_files_is_noticed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").touch()
    status, _, err = call(capsys, "predict", "a b.png", "run", "c.png")
    assert (status, "concord predict run 'a b.png' c.png" in err) == (2, True)


def test_sizes_of_an_attack_may_be_fractions():
    assert attack_plan.sizes("0.5, 8/255,3/4") == [0.5, 8 / 255, 0.75]
    assert attack_plan.step_length("2/255") == 2 / 255
    assert attack_plan.step_length(None) is None
    for text in ("1/0", "1/2/3", "/2", "1/", "a/b"):
        with pytest.raises(concord.UsageError):
            attack_plan.step_length(text)


def test_files_of_another_kind_than_they_are_named_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for line in (
        ["report", "run", "--to", "r.pdf"],
        ["report", "run", "--to", "folder"],
        ["cost", "lenet5", "--html", "r.pdf"],
        ["predict", "run", "a.png", "--csv", "labels.xlsx"],
        ["baseline", "knn", "--out", "r.pdf"],
        ["export", "run", "--to", "net.pb"],
    ):
        status, _, err = call(capsys, *line)
        assert (status, line[-1] in err) == (2, True), err
    assert list(tmp_path.iterdir()) == []
