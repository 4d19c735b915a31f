"""Run folders as somebody hostile, or a bad disk, would hand them over."""

import contextlib
import hashlib
import io
import json
import random
from itertools import count

import torch
from run_made import write_npz
from safetensors.torch import load, save

import concord
from concord.cli import app
from concord.errors import StoppedError
from concord.files.documents import with_digest
from concord.files.manifest import FILE as MANIFEST

NETWORK = "noel2017_st(filters=4)"
OF_THE_FOLDER = ("run", "runs", "seconds", "samples_per_second", "sha256")


def settings(folder, epochs=2):
    return {
        "data": {"source": str(write_npz(folder / "data.npz")), "size": 8, "valid": 0.2},
        "members": [{"name": name, "network": NETWORK} for name in "ab"],
        "consensus": {"cost": "l2", "weight": 0.1},
        "train": {"epochs": epochs, "batch_size": 16, "threads": 1, "precision": "float32"},
    }


def complete(folder):
    concord.train(settings(folder), folder / "complete")
    return folder / "complete"


def unfinished(folder):
    """Stopped within the second epoch."""
    polls = count()
    with contextlib.suppress(StoppedError):
        concord.train(settings(folder), folder / "unfinished", stop=lambda: next(polls) > 6)
    assert not (folder / "unfinished/result.json").exists()
    return folder / "unfinished"


def run(*arguments):
    """Status, output and errors of a command in this process; what is no message of concord's is raised."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app.main([str(a) for a in arguments])
            status = 0
        except SystemExit as left:
            status = left.code
    return status, out.getvalue(), err.getvalue()


def command(verb, path, folder):
    """A verb that shows something of a run or a study; what it writes lies beside the folder of the run."""
    to = path.parent
    return {
        "eval": ["eval", path, "--json"],
        "resume": ["resume", path, "--json", "--quiet"],
        "report": ["report", path, "--to", to / "page.html"],
        "card": ["report", path, "--to", to / "card.md"],
        "predict": ["predict", path, folder / "x.png", "--json"],
        "export": ["export", path, "--member", "a", "--to", to / "a.safetensors"],
        "attack": ["attack", path, "--limit", "9", "--out", to / "attacked", "--json"],
        "baseline": ["baseline", "perceptron", "--run", path, "--json"],
    }[verb]


def asked(verb, path, folder):
    """Status, the figures that a verb showed, without its clock times and the path, and its messages."""
    status, out, err = run(*command(verb, path, folder))
    return status, figures(verb, out, path.parent) if status == 0 else None, err


def figures(verb, out, to):
    if verb in ("eval", "resume", "attack"):
        return {key: value for key, value in json.loads(out).items() if key not in OF_THE_FOLDER}
    if verb == "predict":
        return json.loads(out)[0]["label"], json.loads(out)[0]["confidence"]
    if verb == "baseline":
        return [(row["name"], row["test_error"], row["macs"]) for row in json.loads(out)["rows"]]
    if verb == "export":
        found = load((to / "a.safetensors").read_bytes())
        return {name: tensor.tolist() for name, tensor in found.items()}
    return (to / {"report": "page.html", "card": "card.md"}[verb]).read_text()


def sealed(path):
    """Every manifest and digest fits what it is of, as whoever makes a hostile folder writes it."""
    for file in [path / "stamp.json", *path.glob("attack/*/attack.json")]:
        if file.is_file() and isinstance(content := json.loads(file.read_text()), dict):
            file.write_text(json.dumps(with_digest(content)))
    for file in [*path.glob(f"ckpt/*/{MANIFEST}"), path / MANIFEST]:
        if file.is_file():
            found = json.loads(file.read_text())
            names = found.get("files") if isinstance(found, dict) else None
            for name in names if isinstance(names, dict) else ():
                if (file.parent / name).is_file():
                    content = (file.parent / name).read_bytes()
                    digest = hashlib.sha256(content).hexdigest()
                    found["files"][name] = {"size": len(content), "sha256": digest}
            file.write_text(json.dumps(found))


def files_of(path):
    """All files of a run or a study that hold something, in order."""
    return sorted(p for p in path.rglob("*") if p.is_file() and p.name != ".lock")


OTHERS = (None, True, -1, 0, 10**400, 1e308, -0.5, "", "../../other", [], [[1]], {}, {"a": {}})


def places(value, path=()):
    """Where a value of a JSON document could be replaced."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in inner:
        yield (*path, key)
        yield from places(inside, (*path, key))


def with_other_json(content, numbers: random.Random):
    """A document in which one value is of another type or an extreme, or is gone."""
    document = json.loads(content)
    *path, last = numbers.choice(list(places(document)))
    inside = document
    for key in path:
        inside = inside[key]
    if isinstance(inside, dict) and numbers.random() < 0.2:
        del inside[last]
    else:
        inside[last] = numbers.choice(OTHERS)
    return json.dumps(document).encode()


SHAPES = (
    lambda t: t.reshape(-1)[:1],
    lambda t: t.unsqueeze(0),
    lambda t: torch.zeros(0),
    lambda t: torch.cat([t, t]) if t.ndim else torch.zeros(3),
    lambda t: t.reshape(-1)[:-1] if t.numel() > 1 else torch.zeros(2, 2),
)
TYPES = (torch.bool, torch.int8, torch.int64, torch.float16, torch.float64, torch.complex64)


def with_other_tensors(content, numbers: random.Random):
    """The same tensors but for one, which is of another shape or type, or has gone, or has another name."""
    tensors = load(content)
    name = numbers.choice(sorted(tensors))
    change = numbers.randrange(4)
    if change == 0:
        tensors[name] = numbers.choice(SHAPES)(tensors[name]).contiguous().clone()
    elif change == 1:
        kind = numbers.choice([kind for kind in TYPES if kind != tensors[name].dtype])
        tensors[name] = tensors[name].to(kind)
    elif change == 2:
        del tensors[name]
    else:
        tensors[name + "x"] = tensors.pop(name)
    return save(tensors)
