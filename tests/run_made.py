"""Small real runs for the tests: tiny members on tiny images, through the same doors as the command line."""

import hashlib
import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from concord.cli import app
from concord.data.images.images import Images, fingerprint
from concord.data.splits import Splits
from concord.errors import StoppedError
from concord.runs import folder, job, toml
from concord.runs.interface import Interface
from concord.training import checkpoint
from concord.training.fit import fit
from concord.training.observer import Silent

CLASSES = ("cat", "dog", "eel")
# two small members that every machine trains in seconds on scikit-learn's digits
MEMBERS = [{"name": "ST", "network": "noel2017_st"}, {"name": "B", "network": "noel2017_text_st"}]
SETTINGS = {
    "data": {"valid": 0.2},
    "members": MEMBERS,
    "consensus": {"cost": "l2", "weight": 0.01},
    "train": {"epochs": 2, "batch_size": 128, "threads": 1, "precision": "float32"},
}
TIMES = ("seconds", "epoch_seconds", "samples_per_second")


class Noted(Silent):
    """An observer that keeps the notices and the last count."""

    def __init__(self, warn=lambda text: None):
        self.notices, self.count, self.warn = [], None, warn

    def notice(self, text):
        self.notices.append(text)
        self.warn(text)

    def counted(self, done, total):
        self.count = (done, total)


def never():
    return False


def member(seed, *, dropout=0.2):
    """Convolution, batch normalisation, dropout and a dense layer for 6x6 grey images."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(64, len(CLASSES)),
        ).to(memory_format=torch.channels_last)


def images(count, seed):
    """Noise with a bright row that tells the class."""
    numbers = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    pixels = numbers.integers(0, 200, (count, 1, 6, 6), dtype=np.uint8)
    pixels[np.arange(count), 0, labels * 2] += 40
    return pixels, labels


def part(count, seed):
    pixels, labels = images(count, seed)
    names = [f"{seed}-{i}" for i in range(count)]
    return Images(torch.from_numpy(pixels), torch.from_numpy(labels), CLASSES, names)


def splits(seed=0):
    train, valid, test = part(44, seed), part(15, seed + 1), part(15, seed + 2)
    return Splits(train, valid, test, fingerprint(train), ())


def settings(members=2, **changes):
    """Tables of a configuration; ``train__epochs=3`` changes one setting."""
    tables = {
        "members": [{"name": f"m{i}", "network": "noel2017_st"} for i in range(members)],
        "consensus": {"cost": "l2", "weight": 0.1},
        "train": {
            "epochs": 3,
            "batch_size": 8,
            "device": "cpu",
            "threads": 1,
            "precision": "float32",
            "optimizer": {"kind": "adam", "lr": 0.01},
        },
    }
    for key, value in changes.items():
        toml.put(tables, key.replace("__", "."), value)
    return tables


def make_job(path, tables=None, *, stop=never, starts=0, data=None, warn=None, members=None, **choices):
    """A job in a run folder at ``path``, which is made if there is none."""
    config = toml.parse(tables or settings())
    data = data or splits()
    interface = Interface.of(data)
    if not (path / "config.toml").exists():
        folder.create(path, config, {}, interface.plain())
    made = members or {m.name: member(starts + i) for i, m in enumerate(config.members)}
    observer = Noted(warn if warn is not None else pytest.fail)
    run = folder.RunFolder(path)
    return job.make_job(run, config, data, made, interface, stop=stop, observer=observer, **choices)


def train(path, tables=None, **options):
    """Run a job to its end, or to its StoppedError."""
    return list(fit(make_job(path, tables, **options)))


def after(polls):
    """A question that is answered yes for the first time after so many noes."""
    asked = 0

    def stop():
        nonlocal asked
        asked += 1
        return asked > polls

    return stop


def train_in_parts(path, tables=None, *, polls, starts=7, **options):
    """Stop after so many polls and resume, with other members and another generator, again and again."""
    for part in range(1000):
        torch.manual_seed(part)
        try:
            train(path, tables, stop=after(polls), starts=starts * part, **options)
            return part
        except StoppedError:
            continue
    raise AssertionError("no progress")


def outcome(path):
    """All that a training leaves, without clock times: hashes of tensors, the position, the metrics."""
    last = checkpoint.steps(path / "ckpt")[-1]
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in last.glob("*.safetensors")}
    position = json.loads((last / "state.json").read_text())["position"]
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    clean = [{k: v for k, v in row.items() if k not in TIMES} for row in (position, *rows)]
    return last.name, files, clean


def write_npz(path, *, seed=0):
    """The same kind of images as a file for --data."""
    (x, y), (x2, y2) = images(60, seed), images(15, seed + 2)
    np.savez(path, x_train=x[:, 0], y_train=y, x_test=x2[:, 0], y_test=y2)
    return path


FACTORY = """
import torch
from torch import nn

def make(channels, classes):
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(),
        nn.Linear(64, classes),
    )
"""


SEVERAL = ("--set", "--allow-code", "--run", "--input", "--pretrained", "--without", "--arm", "--against")


def changed(*line):
    """A command line in which a later option replaces the same one before it, as no verb takes it twice."""
    words = [str(word) for word in line]
    for place in reversed(range(len(words))):
        word = words[place]
        if word.startswith("--") and word not in SEVERAL and word in words[place + 1 :]:
            del words[place : place + 2]
    return words


def call(capsys, *arguments):
    """Exit status, standard output and standard error of one command in this process; see ``changed``."""
    with pytest.raises(SystemExit) as left:
        app.main(changed(*arguments))
    out, err = capsys.readouterr()
    return left.value.code, out, err


@contextmanager
def file_limit(size):
    """No file may grow beyond ``size`` bytes, as on a full disk."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def copied(path, to):
    """A copy of a run, to damage."""
    shutil.copytree(path, to, dirs_exist_ok=True)
    return to


def group(process):
    """Living processes of a command begun in a group of its own, by /proc; zombies do not count."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(pgrp) == process.pid and state != "Z":
            found.append(int(stat.parent.name))
    return found
