"""Snapshots: a training in cycles keeps the weights at their ends, which then predict together."""

import json
import shutil

import pytest
import torch
import torch.nn.functional as F
from python_made import data, members, same, states
from run_made import call
from safetensors.torch import load_file, save_file
from trust_made import sealed

import concord
from concord.errors import CheckpointError, StoppedError, UsageError
from concord.runs.feeds import make_feed
from concord.runs.loading import load_run, same_data
from concord.training import checkpoint
from concord.training.observer import Silent

TABLES = {
    "members": [{"name": name, "network": "noel2017_st(filters=4)"} for name in "ab"],
    "data": {"limit": 128, "valid": 0.1},  # four batches
    "consensus": {"cost": "l2", "weight": 0.1},
    "train": {
        "epochs": 6,
        "cycles": 3,
        "schedule": "cosine",
        "batch_size": 32,
        "threads": 1,
        "precision": "float32",
        "optimizer": {"kind": "adam", "lr": 0.02},
    },
}
ENDS = ["step-00000008", "step-00000016", "step-00000024"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("snapshots") / "run"
    polls = iter(range(10**6))
    with pytest.raises(StoppedError):
        concord.train(TABLES, path, stop=lambda: next(polls) == 20)
    concord.resume(path)
    return path


def names(path):
    return [step.name for step in checkpoint.steps(path / "ckpt")]


def test_the_checkpoints_at_the_ends_of_cycles_are_kept(run):
    assert names(run) == [*ENDS[:2], "step-00000020", ENDS[2]]  # and the newest two


def test_the_snapshots_predict_together_as_the_mean_of_their_logits(run):
    loaded = load_run(run)
    splits, _ = same_data(loaded, None)
    logits, labels = {}, []
    feed = make_feed(loaded.config, splits, loaded.interface)
    for cycle, end in enumerate(ENDS, 1):
        for name, one in loaded.members.items():
            tensors = load_file(run / "ckpt" / end / f"member-{name}.safetensors")
            one.load_state_dict({k: t for k, t in tensors.items() if not k.startswith("beside/")})
            with torch.no_grad():
                logits[f"{name}@{cycle}"] = torch.cat([one(x) for x, _ in feed.test()])
    labels = torch.cat([y for _, y in feed.test()])
    mean = torch.stack(list(logits.values())).mean(0)
    found = concord.evaluate(run, snapshots=True)
    assert list(found.members) == ["a@1", "b@1", "a@2", "b@2", "a@3", "b@3"]
    assert found.ensemble.test_error == pytest.approx((mean.argmax(-1) != labels).float().mean().item())
    assert found.ensemble.nll == pytest.approx(F.cross_entropy(mean, labels).item(), rel=1e-5)
    for name, own in logits.items():
        assert found.members[name].nll == pytest.approx(F.cross_entropy(own, labels).item(), rel=1e-5)
    assert len({row.nll for row in found.members.values()}) == 6
    whole = concord.evaluate(run)
    assert whole.members["a"].nll == pytest.approx(found.members["a@3"].nll, rel=1e-6)


def test_the_command_shows_them_too(run, capsys):
    status, out, _ = call(capsys, "eval", run, "--snapshots", "--json")
    assert (status, list(json.loads(out)["members"])[-1]) == (0, "b@3")


def test_teachers_are_not_snapshots(run, tmp_path):
    taught = TABLES | {"members": [TABLES["members"][0], {**TABLES["members"][1], "teacher": f"{run}:b"}]}
    taught["train"] = TABLES["train"] | {"epochs": 2, "cycles": 2}
    concord.train(taught, tmp_path / "run")
    assert list(concord.evaluate(tmp_path / "run", snapshots=True).members) == ["a@1", "a@2"]


def test_a_snapshot_that_is_missing_or_edited_is_named(run, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(run, path)
    file = path / "ckpt" / ENDS[0] / "member-a.safetensors"
    tensors = load_file(file)
    save_file({key: tensor + 1 for key, tensor in tensors.items()}, file)
    with pytest.raises(CheckpointError, match=r"step-00000008.member-a.safetensors"):
        concord.evaluate(path, snapshots=True)
    sealed(file.parent)  # its own manifest agrees; that of the run does not
    with pytest.raises(CheckpointError, match=r"member-a.safetensors: damaged or edited"):
        concord.evaluate(path, snapshots=True)
    shutil.rmtree(file.parent)
    with pytest.raises(CheckpointError, match=r"step-00000008 is missing.*the snapshot of cycle 1"):
        concord.evaluate(path, snapshots=True)
    assert concord.evaluate(path).members.keys() == {"a", "b"}


def test_runs_without_snapshots_are_refused(tmp_path):
    one = TABLES | {"train": TABLES["train"] | {"epochs": 1, "cycles": 1}}
    concord.train(one, tmp_path / "one")
    with pytest.raises(UsageError, match=r"one was trained in one cycle \(train.cycles = 1\)"):
        concord.evaluate(tmp_path / "one", snapshots=True)
    polls = iter(range(10**6))
    with pytest.raises(StoppedError):
        concord.train(TABLES, tmp_path / "cut", stop=lambda: next(polls) == 5)
    with pytest.raises(UsageError, match=r"cut is not finished: `concord resume"):
        concord.evaluate(tmp_path / "cut", snapshots=True)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"cycles": 4}, "train.cycles is 4, which does not divide train.epochs = 6"),
        ({"patience": 2}, "leave it out with train.cycles"),
        ({"cycles": 0}, "cycles"),
    ],
)
def test_cycles_that_cannot_be_are_refused(change, match, tmp_path):
    with pytest.raises(UsageError, match=match):
        concord.train(TABLES | {"train": TABLES["train"] | change}, tmp_path / "run")


# In Python


def own(start=0):
    return concord.Ensemble(members(start), consensus="l2", weight=0.1)


def test_snapshots_of_own_modules_are_read_back_by_their_cycle(tmp_path):
    made = own()
    seen = {}

    class Watch(Silent):
        def epoch(self, row):
            seen[row.epoch] = states(made)

    options = {"epochs": 4, "cycles": 2, "schedule": "cosine", "batch_size": 16, "out": tmp_path / "run"}
    history = made.fit(data(), **options, observer=Watch())
    rates = [row.learning_rate for row in history.epochs]
    assert rates[:2] == pytest.approx(rates[2:])
    read = [concord.load(tmp_path / "run", members(7), cycle=cycle) for cycle in (1, 2)]
    assert same(states(read[0]), seen[2])
    assert same(states(read[1]), seen[4])
    both = concord.Ensemble([one["small"] for one in read], task=concord.Classify(3))
    assert both.evaluate(data(40, seed=1)).ensemble.nll > 0


def test_a_cycle_that_there_is_not_is_refused(tmp_path):
    own().fit(data(), epochs=2, cycles=2, out=tmp_path / "run")
    concord.Ensemble(members(), task=concord.Classify(3)).save(tmp_path / "own")
    with pytest.raises(UsageError, match=r"cycle is 3, expected a number from 1: .* has 2 cycles"):
        concord.load(tmp_path / "run", members(), cycle=3)
    with pytest.raises(UsageError, match="own is not a run"):
        concord.load(tmp_path / "own", members(), cycle=1)
    with pytest.raises(UsageError, match=r"give members=\{...\}"):
        concord.load(tmp_path / "run", cycle=1)
