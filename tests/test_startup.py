"""What people wait for most often must not wait for torch.

Processor time depends on what else the machine does; what is imported does not. The times themselves stand in
docs/results/bench-cost.md.
"""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import concord
from concord.cli import complete

HEAVY = ("torch", "torchvision", "numpy", "scipy", "sklearn", "matplotlib", "PIL", "pandas", "timm")
# modules of Python and of everybody: about 1 millisecond each; `import torch` brings 2,000
MOST = 600
CONCORD = str(Path(sys.executable).with_name("concord"))


def completion(line):
    """What a shell asks when Tab is pressed at the end of the line."""
    words = len(line.split(" ")) - 1
    return {"_CONCORD_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(words)}


COMMANDS = {
    "import concord": ([sys.executable, "-c", "import concord"], {}),
    "help": ([sys.executable, "-m", "concord", "--help"], {}),
    "version": ([sys.executable, "-m", "concord", "--version"], {}),
    "an option that is a setting": ([sys.executable, "-m", "concord", "train", "--lr", "0.1"], {}),
    "train help": ([sys.executable, "-m", "concord", "train", "--help"], {}),
    "zoo": ([sys.executable, "-m", "concord", "zoo"], {}),
    "zoo json": ([sys.executable, "-m", "concord", "zoo", "--json"], {}),
    "completion": ([CONCORD], completion("concord tr")),
    "completion of a network": ([CONCORD], completion("concord train --members lenet5,preact_resnet11")),
    "unknown verb": ([sys.executable, "-m", "concord", "trian"], {}),
    "wrong setting": ([sys.executable, "-m", "concord", "train", "--members", "x", "--epochs", "0"], {}),
    "no run": ([sys.executable, "-m", "concord", "resume", "/nowhere"], {}),
}


def run(command, extra):
    """Standard output, and every module that was imported."""
    done = subprocess.run(
        command, env=os.environ | extra | {"PYTHONPROFILEIMPORTTIME": "1"}, capture_output=True, text=True
    )
    assert not ("_CONCORD_COMPLETE" in extra and done.returncode), done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return done.stdout, {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_heavy_is_imported_and_not_much_else(name):
    command, extra = COMMANDS[name]
    _, imported = run(command, extra)
    assert "encodings" in imported, "the import times were not read"
    assert not {module.partition(".")[0] for module in imported} & set(HEAVY)
    assert len(imported) < MOST


def test_the_version_is_that_of_the_package():
    assert run(*COMMANDS["version"])[0] == f"concord {version('concord')}\n"
    assert concord.__version__ == version("concord")


def test_completion_knows_the_verbs():
    assert run(*COMMANDS["completion"])[0].split() == ["train"]


def test_completion_knows_the_networks_after_each_comma():
    assert run(*COMMANDS["completion of a network"])[0].split() == ["lenet5,preact_resnet110"]
    assert run([CONCORD], completion("concord cost vgg11"))[0].split() == ["vgg11", "vgg11_bn"]


RUNS = ("first", "[1]", "deep/run")


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("eval ", RUNS),
        ("eval fi", ["first"]),
        ("eval deep/", ["deep/run"]),
        ("eval ./fi", ["./first"]),
        ("eval [", ["[1]"]),
        ("eval no", []),
        ("eval no/thing", []),
        ("report s", ["study"]),
    ],
)
def test_completion_knows_the_runs(tmp_path, monkeypatch, typed, found):
    for name in (*RUNS, "other", "study"):
        (tmp_path / name).mkdir(parents=True)
        if name != "other":
            (tmp_path / name / ("study.toml" if name == "study" else "stamp.json")).touch()
    monkeypatch.chdir(tmp_path)
    assert sorted(run([CONCORD], completion(f"concord {typed}"))[0].split()) == sorted(found)


CONFIG = """
[data]
source = "digits"
[[members]]
name = "small"
network = "lenet5"
[[members]]
name = "big"
network = "resnet20"
"""


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("predict first --member ", ["big", "ensemble", "small"]),
        ("predict --member s first", []),
        ("export first --to a.onnx --member b", ["big"]),
        ("attack first --member e", ["ensemble"]),
        ("resume first --without s", ["small"]),
        ("predict nothing --member ", ["ensemble"]),
        ("train --members a=lenet5,b=preact_resnet11", ["a=lenet5,b=preact_resnet110"]),
        ("train --consensus s", ["sce", "sce_tf1"]),
        ("study --arm l", ["l1", "l2"]),
        ("train --edges ri", ["ring"]),
        ("train --set train.optimizer.mo", ["train.optimizer.momentum="]),
        ("resume first --set train.ep", ["train.epochs="]),
        ("study --set study.a", ["study.alone=", "study.arms="]),
        ("baseline knn --set data.si", ["data.size="]),
        ("baseline knn --set train.", []),
    ],
)
def test_completion_knows_members_costs_edges_and_settings(tmp_path, monkeypatch, typed, found):
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "config.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    shown, imported = run([CONCORD], completion(f"concord {typed}"))
    assert sorted(shown.split()) == found
    assert not {module.partition(".")[0] for module in imported} & set(HEAVY)


def test_completion_passes_over_what_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "stamp.json").touch()
    read = Path.iterdir

    def guarded(path):
        if path.name == "run":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "iterdir", guarded)
    assert complete.runs(f"{tmp_path}/") == [f"{tmp_path}/run"]
