"""Exit statuses and messages: what went wrong, where, and the way out; never a traceback."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_made import write_image
from run_made import FACTORY, call, file_limit, write_npz

from concord.cli import app, options
from concord.data import memory
from concord.errors import CheckpointError
from concord.runs import loading
from concord.training import checkpoint

MEMBERS = ["--members", "a=fault_net:make,b=fault_net:make"]
QUICK = ["--epochs", "2", "--batch-size", "8", "--set", "train.threads=1", "--quiet"]
QUICK += ["--set", "train.precision=float32"]
TRAIN = ["train", "--data", "data.npz", *MEMBERS, "--consensus", "l2", "--weight", "0.1", *QUICK]
ALLOW = ["--allow-code", "fault_net:make"]
BAD_NETS = (
    FACTORY
    + """

class Bad(nn.Module):
    def __init__(self, channels, classes, act):
        super().__init__()
        self.inner, self.act, self.asked = make(channels, classes), act, 0

    def forward(self, x):
        self.asked += self.training
        return self.inner(x) * (self.act() if self.asked > 9 else 1.0)

def nan(channels, classes):
    return Bad(channels, classes, lambda: float("nan"))

def greedy(channels, classes):
    return Bad(channels, classes, lambda: torch.empty(2**50))

def greedy_python(channels, classes):
    return Bad(channels, classes, lambda: bytearray(2**62))

def tied(channels, classes):
    network = make(channels, classes)
    network.again = network[-1]
    network.forward = lambda x: nn.Sequential.forward(network[:-1], x)
    return network
"""
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with data, networks and one finished run."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "fault_net.py").write_text(BAD_NETS)
    write_npz(folder / "data.npz")
    write_npz(folder / "other.npz", seed=50)
    np.savez(folder / "larger.npz", images=np.zeros((30, 9, 9), np.uint8), labels=np.arange(30) % 3)
    (folder / "cut.npz").write_bytes((folder / "data.npz").read_bytes()[:500])
    (folder / "file").write_text("x")
    (folder / "bad.toml").write_text("[train]\nepoch = 3\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with pytest.raises(SystemExit) as left:
            app.main([*TRAIN, "--out", "run"])
    assert left.value.code == 0
    return folder


@pytest.fixture
def here(home, monkeypatch):
    monkeypatch.chdir(home)
    return home


def run_copy(here, tmp_path):
    return shutil.copytree(here / "run", tmp_path / "copy")


CASES = {
    "unknown option": (2, ["train", "--epoch", "3"], "--epochs"),
    "unknown verb": (2, ["trian"], "train"),
    "no members": (2, ["train", "--data", "data.npz", "--out", "x1"], "members"),
    "unknown key": (
        2,
        ["train", "--config", "bad.toml"],
        "train.epoch: unknown key (did you mean 'epochs'?)",
    ),
    "no such file": (2, ["train", "--config", "no.toml"], "no.toml: no such configuration file"),
    "bad --set": (2, [*TRAIN, "--set", "train.epochs"], "--set takes key=value"),
    "unknown network": (2, ["train", "--members", "resnet81", *QUICK], "(did you mean 'resnet18'?)"),
    "nan weight": (2, [*TRAIN, "--weight", "nan", "--out", "x2"], "consensus.weight"),
    "run is there": (
        2,
        [*TRAIN, "--out", "run"],
        "it is finished; give another --out, or train it for more epochs with",
    ),
    "out is a file": (2, [*TRAIN, "--out", "file"], "--out takes a folder"),
    "no edges of that kind": (2, [*TRAIN, "--edges", "rnig", "--out", "x3"], "(did you mean 'ring'?)"),
    "edges do not fit": (2, [*TRAIN, "--set", "consensus.edges=[[0]]", "--out", "x3"], "there are 2"),
    "no data": (3, ["train", "--data", "nowhere", *MEMBERS, *QUICK], "nowhere"),
    "cut data": (3, ["train", "--data", "cut.npz", *MEMBERS, *QUICK], "cut.npz"),
    "data of nobody": (3, [*TRAIN, "--data", "~nosuchuser/x", "--out", "x4"], "~nosuchuser/x"),
    "temperature beyond floats": (2, [*TRAIN, "--set", "consensus.temperature=1e300"], "temperature"),
    "shift beyond int64": (2, [*TRAIN, "--set", "augment.shift=1000000000"], "augment.shift"),
    "crop beyond int64": (2, [*TRAIN, "--set", f"augment.crop={10**30}"], "augment.crop"),
    "strength beyond float32": (2, [*TRAIN, "--set", "augment.contrast=1e300"], "augment.contrast"),
    "mixup of nothing": (2, [*TRAIN, "--set", "augment.mixup=1e-300"], "augment.mixup"),
    "classes beyond int64": (2, ["cost", "densenet40_12", "--classes", str(10**20)], "too large to compute"),
    "no unlabelled": (3, [*TRAIN, "--set", "unlabelled.source=gone/", "--out", "x4"], "gone"),
    "other size on resume": (
        3,
        ["resume", "run", "--set", "data.source=larger.npz", "--allow-changes", *ALLOW],
        "larger.npz has images of (1, 9, 9)",
    ),
    "no run": (4, ["eval", "nowhere"], "nowhere is not a run folder"),
    "no run to resume": (4, ["resume", "file"], "file is not a run folder"),
    "changed": (4, ["resume", "run", "--set", "train.seed=3", *ALLOW], "train.seed: 0 -> 3"),
    "changed data": (4, ["resume", "run", "--set", "data.source=other.npz", *ALLOW], "\n  data: "),
    "diverged": (5, [*TRAIN, "--members", "n=fault_net:nan", "--out", "x5"], "the loss of n is"),
    "out of memory": (6, [*TRAIN, "--members", "g=fault_net:greedy", "--out", "x6"], "out of memory"),
    "out of memory in Python": (
        6,
        [*TRAIN, "--members", "g=fault_net:greedy_python", "--out", "x7"],
        "out of memory (MemoryError)",
    ),
    "below a file": (6, [*TRAIN, "--out", "file/run"], "file/run: cannot write (Not a directory)"),
    "name too long": (6, [*TRAIN, "--out", "x" * 300], "cannot write (File name too long)"),
}


@pytest.mark.parametrize("case", CASES)
def test_every_fault_has_its_status_and_its_words(case, here, capsys):
    status, arguments, words = CASES[case]
    given, out, err = call(capsys, *arguments)
    assert (given, out) == (status, "")
    assert words in err
    assert "Traceback" not in err


@pytest.mark.parametrize("case", ["no data", "changed", "out of memory", "unknown key", "run is there"])
def test_with_json_an_error_is_one_document_on_stdout(case, here, capsys):
    status, arguments, words = CASES[case]
    arguments = [a.replace("x6", "x8") for a in arguments]
    given, out, err = call(capsys, *arguments, "--json")
    said = json.loads(out)
    assert (given, said["status"]) == (status, status)
    assert words in said["error"]
    assert words in err


@pytest.mark.parametrize("case", ["nan weight", "edges do not fit", "no unlabelled", "unknown network"])
def test_a_refused_training_leaves_no_folder(case, here, tmp_path, capsys):
    status, arguments, _ = CASES[case]
    arguments = arguments[: arguments.index("--out")] if "--out" in arguments else arguments
    assert call(capsys, *arguments, "--out", tmp_path / "run")[0] == status
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("case", ["no data", "changed", "unknown key", "run is there", "no run"])
def test_debug_adds_the_traceback_and_keeps_the_status(case, here, capsys):
    status, arguments, words = CASES[case]
    given, _, err = call(capsys, *arguments, "--debug")
    assert given == status
    assert "Traceback (most recent call last)" in err
    assert words in err


def test_debug_may_stand_before_the_verb(here):
    command = [sys.executable, "-m", "concord", "--debug", "train", "--config", "bad.toml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Traceback (most recent call last)" in done.stderr
    assert "UsageError" in done.stderr


@pytest.mark.fault(10)
def test_after_running_out_of_memory_the_run_goes_on(here, capsys):
    status, _, err = call(capsys, *TRAIN, "--members", "g=fault_net:greedy", "--out", "x9")
    assert status == 6
    assert "a smaller train.batch_size or data.size helps" in err
    assert checkpoint.steps(Path("x9/ckpt"))[-1].name == "step-00000007"


@pytest.mark.fault(10)
def test_memory_is_looked_at_before_the_training(here, monkeypatch, capsys):
    line = [*TRAIN, "--data", "digits", "--out", "x10"]
    for network, words in (
        ("noel2017_st", "one pass over 8 images needs .*a smaller train.batch_size or data.size helps"),
        ("vgg16", "a network of more than 10,000,000 parameters does not fit into the free memory"),
    ):
        monkeypatch.setattr(memory, "available", lambda: 20_000)
        status, _, err = call(capsys, *line, "--members", network)
        assert status == 6
        assert re.search(words, err)
        assert not Path("x10").exists()


def test_a_batch_larger_than_the_data_is_no_matter_of_memory(here, monkeypatch, capsys):
    monkeypatch.setattr(memory, "available", lambda: 2**30)
    arguments = [a.replace("8", str(10**9)) if a == "8" else a for a in TRAIN]
    assert call(capsys, *arguments, "--out", "x11")[0] == 0


@pytest.mark.fault(4)
@pytest.mark.parametrize("limit", [1000, 8000])
def test_a_full_disk_ends_with_6_and_the_resume_is_exact(limit, here, tmp_path, capsys):
    """The first limit meets the run folder's own files, the second one the metrics or a checkpoint."""
    run = tmp_path / "run"
    with file_limit(limit):
        status, _, err = call(capsys, *TRAIN, "--epochs", "9", "--out", run)
    assert status == 6
    assert "the disk is full or a size limit was reached" in err
    assert "MiB free" in err
    assert not list(run.rglob("*.tmp-*"))
    if limit > 1000:
        assert call(capsys, "resume", run, "--quiet", *ALLOW)[0] == 0
        assert call(capsys, *TRAIN, "--epochs", "9", "--out", tmp_path / "whole")[0] == 0
        ends = [checkpoint.load(checkpoint.steps(p / "ckpt")[-1]) for p in (run, tmp_path / "whole")]
        for key, tensor in ends[0].tensors["member-a"].items():
            assert tensor.equal(ends[1].tensors["member-a"][key])


def damage(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_a_damaged_result_is_refused_by_file_and_resumed_loudly(here, tmp_path, capsys):
    run = run_copy(here, tmp_path)
    damage(checkpoint.steps(run / "ckpt")[-1] / "member-a.safetensors")
    status, _, err = call(capsys, "eval", run, *ALLOW)
    assert (status, "member-a.safetensors: damaged" in err) == (4, True)
    moved = (here / "data.npz").rename(here / "moved.npz")
    assert call(capsys, "resume", run, *ALLOW)[0] == 3  # data that are not there cost nobody a result
    assert (run / "result.json").exists()
    moved.rename(here / "data.npz")
    (run / "result.json").unlink()
    status, _, err = call(capsys, "eval", run, *ALLOW)
    assert (status, "an earlier checkpoint is used" in err) == (0, True)
    status, out, err = call(capsys, "resume", run, "--json", "--quiet", *ALLOW)
    assert (status, "falling back to an earlier checkpoint" in err) == (0, True)
    assert json.loads(out)["members"] == json.loads((here / "run" / "result.json").read_text())["members"]


def test_weights_that_are_no_numbers_are_damage_whatever_the_manifest_says(here, tmp_path, capsys):
    run = run_copy(here, tmp_path)
    found = checkpoint.newest(run / "ckpt")[0]
    tensors = {name: dict(part) for name, part in found.tensors.items()}
    tensors["member-a"]["0.weight"] = tensors["member-a"]["0.weight"] * float("nan")
    checkpoint.save(run / "ckpt", int(found.path.name.removeprefix("step-")), tensors, found.state)
    for verb in (["eval", run], ["export", run, "--member", "a", "--to", tmp_path / "a.onnx"]):
        status, _, err = call(capsys, *verb, *ALLOW)
        assert status == 4
        assert "member-a.safetensors" in err
        assert "damaged" in err


@pytest.mark.fault(8)
def test_a_prediction_that_is_no_number_is_no_label(here, monkeypatch, capsys):
    write_image(here / "one.png", 1, size=(6, 6))
    real = loading.Loaded.probabilities
    monkeypatch.setattr(loading.Loaded, "probabilities", lambda *given: real(*given) * float("inf"))
    status, out, err = call(capsys, "predict", "run", "one.png", "--json", *ALLOW)
    assert (status, json.loads(out)["status"]) == (5, 5)
    assert "does not give finite numbers" in err


def test_a_number_that_json_does_not_have_is_null(capsys):
    options.print_json({"a": [float("nan"), 1.5], "b": (float("inf"), {"c": -float("inf")})})
    assert json.loads(capsys.readouterr().out) == {"a": [None, 1.5], "b": [None, {"c": None}]}


@pytest.mark.parametrize("name", ["config.toml", "interface.json", "result.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[", b"[]"])
def test_a_damaged_file_of_a_run_is_named(name, content, here, tmp_path, capsys):
    run = run_copy(here, tmp_path)
    (run / name).write_bytes(content)
    status, _, err = call(capsys, "eval", run, *ALLOW)
    if name == "interface.json":  # a copy: the checkpoint has its own under the manifest
        assert status == 0
    else:
        assert status in (2, 4)
    assert name in err or "members: name at least" in err
    assert "Traceback" not in err


KEYS = {"run", "members", "ensemble", "agreement", "seconds", "samples_per_second"}
MEMBER_KEYS = {"test_error", "valid_error", "nll", "ece", "parameters", "macs"}


def test_json_is_one_document_with_the_promised_keys(here, tmp_path, capsys):
    trained = call(capsys, *TRAIN, "--out", tmp_path / "run", "--json")
    scored = call(capsys, "eval", tmp_path / "run", "--json", *ALLOW)
    resumed = call(capsys, "resume", tmp_path / "run", "--json", *ALLOW)
    for status, out, _ in (trained, scored, resumed):
        said = json.loads(out)
        assert status == 0
        assert said.keys() >= KEYS
        assert said["members"].keys() == {"a", "b"}
        assert all(row.keys() >= MEMBER_KEYS for row in said["members"].values())
        assert said["ensemble"].keys() >= {"test_error", "nll", "ece"}
        assert 0 <= said["agreement"] <= 1
    assert json.loads(trained[1]) == json.loads(resumed[1])


def test_a_member_with_tied_weights_is_saved_and_comes_back(here, tmp_path, capsys):
    arguments = [*TRAIN, "--members", "t=fault_net:tied", "--consensus", "none", "--weight", "0"]
    assert call(capsys, *arguments, "--out", tmp_path / "run")[0] == 0
    assert call(capsys, "eval", tmp_path / "run", "--allow-code", "fault_net:tied")[0] == 0


# Names that would steer a terminal

STEERING = "\x1b[2J<script>alert(1)<\x9b31m\u202e"


def harmless(text):
    return all(c.isprintable() or c in "\n\r" for c in text)


@pytest.fixture(scope="module")
def pictures(home):
    """Class folders and files with names that nobody should obey."""
    for k in range(2):
        for i in range(12):
            folder = home / "pictures" / f"{STEERING}{k}"
            write_image(folder / f"{STEERING}\n{i}.png", colour=40 * k + i, size=(6, 6))
    return home / "pictures"


@pytest.mark.fault(24)
def test_class_and_file_names_are_harmless_on_a_terminal(pictures, here, tmp_path, capsys):
    run = tmp_path / STEERING.replace("<", "")
    commands = [
        ["train", "--data", pictures, *MEMBERS, *QUICK[:-3], *QUICK[-2:], "--out", run],
        ["eval", run, *ALLOW],
        ["eval", run, "--data", "data.npz", *ALLOW],
        ["predict", run, pictures, *ALLOW],
        ["predict", run, pictures / f"{STEERING}0", "data.npz", *ALLOW],
        ["data", "check", pictures],
        ["train", "--data", pictures, *MEMBERS, *QUICK, "--out", run],
        ["eval", tmp_path / STEERING[:4]],
    ]
    for command in commands:
        status, out, err = call(capsys, *command)
        assert harmless(out + err), command
        assert "Traceback" not in err
        assert status in (0, 1, 2, 3, 4)


def test_json_keeps_the_names_as_they_are(pictures, here, tmp_path, capsys):
    call(capsys, "train", "--data", pictures, *MEMBERS, *QUICK, "--out", tmp_path / "run")
    status, out, _ = call(capsys, "predict", tmp_path / "run", pictures, "--json", *ALLOW)
    assert status == 0
    assert {row["label"] for row in json.loads(out)} <= {f"{STEERING}0", f"{STEERING}1"}
    assert harmless(out)  # JSON escapes them


def test_errors_keep_their_kind_over_the_lock(here, tmp_path, capsys):
    run = run_copy(here, tmp_path)
    for step in checkpoint.steps(run / "ckpt"):
        damage(step / "state.json")
    (run / "result.json").unlink()
    assert call(capsys, "resume", run, *ALLOW)[0] == CheckpointError.exit_status
