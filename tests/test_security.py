"""Nothing that is read from a file runs code."""

import ast
import hashlib
import json
import pickle
import re
import shutil
import sys
from pathlib import Path

import pytest
from run_made import FACTORY, call, write_npz

import concord
from concord.training import checkpoint

ROOT = Path(concord.__file__).parent
DOCS = Path(__file__).parent.parent / "docs"
SOURCES = sorted(ROOT.rglob("*.py"))
MODULES = {"pickle", "cPickle", "_pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal", "yaml"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "yaml.load"}
ARGUMENTS = {"shell": True, "weights_only": False, "allow_pickle": True, "trust_remote_code": True}


def banned(text):
    """What must not stand in the package, in any form, as (line, what)."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            yield from ((node.lineno, name) for name in names if name.split(".")[0] in MODULES)
        elif isinstance(node, ast.Call):
            if ast.unparse(node.func) in CALLS and not _weights_alone(node):
                yield node.lineno, ast.unparse(node.func)
            for keyword in node.keywords:
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if keyword.arg in ARGUMENTS and value is ARGUMENTS[keyword.arg]:
                    yield node.lineno, f"{keyword.arg}={value}"


def _weights_alone(call):
    """torch.load of tensors and plain containers, of which nothing is run."""
    given = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
    return ast.unparse(call.func) == "torch.load" and given.get("weights_only") is True


@pytest.mark.fault(18)
@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_package_has_no_door_for_foreign_code(path):
    assert list(banned(path.read_text())) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "def f():\n    import yaml.loader",
        "eval('1')",
        "exec(x)",
        "import torch\ntorch.load('x')",
        "torch.load('x', weights_only=flag)",
        "run('ls', shell=True)",
        "load(x, weights_only=False)",
        "np.load(x, allow_pickle=True)",
    ],
)
def test_the_guard_sees_what_is_banned(text):
    assert list(banned(text))


def test_the_guard_lets_the_harmless_pass():
    text = "np.load(x, allow_pickle=False)\nmodel.eval()\nrun(['ls'], shell=False)\nre.compile('x')"
    text += "\ntorch.load(x, weights_only=True)"
    assert list(banned(text)) == []


@pytest.fixture(scope="module")
def run_of_own_code(tmp_path_factory):
    """A run of a member of the user's own, whose module then turns evil: importing it leaves a file."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "evil_mod.py").write_text(FACTORY)
    write_npz(folder / "data.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        settings = {
            "data": {"source": str(folder / "data.npz")},
            "members": [{"name": "own", "network": "evil_mod:make"}],
            "train": {"epochs": 1, "threads": 1, "precision": "float32"},
        }
        concord.train(settings, folder / "run", allow_code=["evil_mod:make"])
    (folder / "evil_mod.py").write_text(
        f"import pathlib\npathlib.Path({str(folder / 'sentinel')!r}).touch()\n{FACTORY}"
    )
    return folder


class Trap:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_the_trap_is_one(tmp_path):
    pickle.loads(pickle.dumps(Trap(tmp_path / "sentinel"))).close()
    assert (tmp_path / "sentinel").exists()


@pytest.mark.fault(18)
@pytest.mark.parametrize("place", ["", "cifar-10-batches-py"])
@pytest.mark.parametrize("verb", ["train", "data check"])
def test_the_python_version_of_cifar_is_refused_and_never_unpickled(verb, place, tmp_path, capsys):
    """Five batches and a test batch whose pickles make a file."""
    inside = tmp_path / "cifar" / place
    inside.mkdir(parents=True)
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch", "batches.meta"]:
        (inside / name).write_bytes(pickle.dumps(Trap(tmp_path / "sentinel")))
    commands = {
        "train": ["train", "--members", "noel2017_st", "--out", tmp_path / "run", "--data"],
        "data check": ["data", "check"],
    }
    status, out, err = call(capsys, *commands[verb], tmp_path / "cifar")
    assert status == {"train": 3, "data check": 1}[verb]
    assert "holds the python version of CIFAR-10, which is pickle and is not read" in out + err
    assert "concord data get cifar10" in out + err
    assert not (tmp_path / "sentinel").exists()


def with_manifest(step):
    """The manifest says what the files of the checkpoint hold now."""
    file = step / "MANIFEST.json"
    manifest = json.loads(file.read_text())
    for name in manifest["files"]:
        content = (step / name).read_bytes()
        manifest["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    file.write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study of one run, and the folder of that run."""
    folder = tmp_path_factory.mktemp("study")
    settings = {
        "data": {"source": str(write_npz(folder / "data.npz")), "size": 8},
        "members": [{"name": "m", "network": "noel2017_st"}],
        "train": {"epochs": 1, "threads": 1, "precision": "float32"},
        "study": {"seeds": [0, 1]},
    }
    concord.study(settings, folder / "study", jobs=1, report=False)
    return folder / "study"


@pytest.mark.fault(18)
@pytest.mark.parametrize("verb", ["eval", "predict", "report", "export", "resume"])
def test_a_pickle_in_place_of_a_member_is_refused_though_its_hash_is_right(verb, study, tmp_path, capsys):
    run = shutil.copytree(sorted((study / "cells").iterdir())[0], tmp_path / "run")
    for step in checkpoint.steps(run / "ckpt"):
        (step / "member-m.safetensors").write_bytes(pickle.dumps(Trap(tmp_path / "sentinel")))
        with_manifest(step)
    if verb == "resume":
        (run / "result.json").unlink()
    more = {"predict": ["x.png"], "export": ["--to", tmp_path / "x.safetensors", "--member", "m"]}
    status, _, err = call(capsys, verb, run, *more.get(verb, []))
    assert (status, "member-m.safetensors: not a safetensors file" in err) == (4, True)
    assert "Traceback" not in err
    assert not (tmp_path / "sentinel").exists()


def test_a_pickle_in_place_of_the_votes_is_refused(study, tmp_path, capsys):
    other = shutil.copytree(study, tmp_path / "study")
    for run in (other / "cells").iterdir():
        (run / "predictions.safetensors").write_bytes(pickle.dumps(Trap(tmp_path / "sentinel")))
    status, _, err = call(capsys, "report", other)
    assert (status, "predictions.safetensors: damaged" in err) == (4, True)
    assert not (tmp_path / "sentinel").exists()


VERBS = {
    "eval": ["eval", "run"],
    "predict": ["predict", "run", "data.npz"],
    "report": ["report", "run", "--to", "report.html"],
    "resume": ["resume", "run"],
    "export": ["export", "run", "--to", "x.safetensors", "--member", "own"],
    "another name allowed": ["eval", "run", "--allow-code", "other_mod:make"],
    "another factory allowed": ["eval", "run", "--allow-code", "evil_mod:other"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_run_folder_starts_no_code_that_the_user_did_not_name(verb, run_of_own_code, monkeypatch, capsys):
    folder = run_of_own_code
    monkeypatch.chdir(folder)
    monkeypatch.delitem(sys.modules, "evil_mod", raising=False)
    if verb == "resume":
        (folder / "run" / "result.json").unlink(missing_ok=True)
    status, _, err = call(capsys, *VERBS[verb])
    assert (status, "--allow-code evil_mod:make" in err) == (2, True)
    assert not (folder / "sentinel").exists()


def test_naming_the_code_runs_it(run_of_own_code, monkeypatch, capsys):
    folder = run_of_own_code
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "evil_mod", raising=False)
    status, _, _ = call(capsys, "eval", "run", "--allow-code", "evil_mod:make")
    assert (status, (folder / "sentinel").exists()) == (0, True)


PROMISED = re.findall(r"`(test_\w+\.py)::(test_\w+)`", (DOCS / "security.md").read_text())


@pytest.mark.parametrize(("file", "name"), PROMISED)
def test_what_the_document_promises_is_held_by_a_test_that_is_there(file, name):
    tree = ast.parse((Path(__file__).parent / file).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_a_test():
    rows = [line for line in (DOCS / "security.md").read_text().splitlines() if line.startswith("| ")]
    promises = [row for row in rows if row != "| promise | test |"]
    assert len(promises) > 20
    assert [row for row in promises if "::test_" not in row] == []
