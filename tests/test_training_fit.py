"""A whole training: exact resume, early stopping, divergence, and changes on the way."""

import json
import shutil
import time
from contextlib import suppress

import pytest
import torch
from run_made import (
    after,
    make_job,
    member,
    outcome,
    settings,
    splits,
    train,
    train_in_parts,
)
from torch import nn

from concord.errors import CheckpointError, DivergedError, ResourceError, StoppedError, UsageError
from concord.runs import toml, weights
from concord.runs.folder import RunFolder
from concord.runs.plan import plan_of
from concord.training import checkpoint, evaluate
from concord.training import fit as fitting
from concord.training.epoch import Epoch
from concord.training.final import final
from concord.training.fit import fit
from concord.training.loop import Step
from concord.training.position import Position

SGD = {"kind": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True}
ADAMW = {"kind": "adamw", "lr": 0.01, "weight_decay": 0.1, "decay": "all"}
VARIANTS = {
    "adam": {},
    "sgd": {"train__optimizer": SGD, "train__schedule": "cosine", "train__warmup": 0.3, "train__clip": 0.1},
    "adamw": {"train__optimizer": ADAMW, "train__label_smoothing": 0.1},
    "augmented": {"augment__flip": True, "augment__shift": 1, "augment__crop": 1},
    "own batches": {"train__batches": "own", "augment__shift": 1},
    "views": {"train__batches": "views", "augment__shift": 1},
    "alternating": {"train__update": "alternating", "consensus__edges": "all"},
    "unlabelled": {"unlabelled": {"source": "noise", "batch_size": 5}},
    "ramp": {"consensus__schedule": {"kind": "sigmoid", "until": 0.7}},
    "kdcl_general": {"consensus__cost": "kdcl_general"},
    "matching": {"consensus__edges": "random_matching"},
    "disagreement": {"consensus__edges": "disagreement_matching", "consensus__cost": "kl"},
    "micro batches": {"train__micro_batch": 3},
    "kdcl_linear": {"consensus__cost": "kdcl_linear"},
    "kdcl of views": {
        "consensus__cost": "kdcl_minlogit",
        "train__batches": "views",
        "augment__shift": 1,
    },
    "averages": {"train__ema": 0.9},
    "averages in turn": {"train__ema": 0.9, "train__update": "alternating", "train__patience": 2},
    "averages that decide": {"train__ema": 0.9, "consensus__cost": "kdcl_general"},
    "patience": {"train__patience": 2},
    "no validation": {"data__valid": 0.0},
    "tested every epoch": {"train__test": "epoch"},
    "stored order": {"train__shuffle": False},
    "bfloat16": {"train__precision": "bfloat16"},
    "one member": {},
}


def variant(name):
    return settings(
        members={"one member": 1, "matching": 3, "disagreement": 4}.get(name, 2), **VARIANTS[name]
    )


def data_of(name):
    made = splits()
    if name == "no validation":
        made = type(made)(made.train, made.valid.subset(torch.arange(0)), made.test, made.fingerprint, ())
    return made


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """What an uninterrupted training leaves; made once for each variant."""
    kept = {}

    def get(name):
        if name not in kept:
            path = tmp_path_factory.mktemp("straight") / "run"
            events = train(path, variant(name), data=data_of(name))
            kept[name] = (path, outcome(path), events)
        return kept[name]

    return get


# Exact resume


@pytest.mark.fault(29)
@pytest.mark.parametrize("name", VARIANTS)
def test_a_training_stopped_again_and_again_ends_bit_for_bit_as_if_it_had_not_been(name, straight, tmp_path):
    parts = train_in_parts(tmp_path / "run", variant(name), polls=4, data=data_of(name))
    assert parts >= 4
    assert outcome(tmp_path / "run") == straight(name)[1]


def polls_of(path, tables):
    """How often a training asks whether to stop."""
    asked = 0

    def stop():
        nonlocal asked
        asked += 1
        return False

    train(path, tables, stop=stop)
    return asked


@pytest.mark.fault(2)
def test_a_stop_at_any_moment_resumes_exactly(straight, tmp_path):
    tables = variant("tested every epoch")
    total = polls_of(tmp_path / "whole", tables)
    assert total == 1 + 3 * (6 + 2)  # before the first update, after each, before each batch of evaluation
    for polls in range(total):
        path = tmp_path / str(polls)
        with pytest.raises(StoppedError, match=rf"saved: `concord resume {path}` continues from here"):
            train(path, tables, stop=after(polls))
        train(path, tables, starts=9)
        assert outcome(path) == straight("tested every epoch")[1]


@pytest.mark.parametrize(
    ("polls", "updates", "rows"), [(0, 0, 0), (3, 3, 0), (6, 6, 0), (7, 6, 0), (8, 6, 0), (9, 7, 1)]
)
def test_a_stop_is_heard_within_one_step(polls, updates, rows, tmp_path):
    """Before the first update, mid-epoch, at the last step of an epoch, in evaluation, in the next epoch."""
    job = make_job(tmp_path / "run", variant("tested every epoch"), stop=after(polls))
    with pytest.raises(StoppedError, match=f"stopped after {updates} updates"):
        list(fit(job))
    found = checkpoint.newest(job.store.folder.checkpoints)[0]
    assert found.path.name == f"step-{updates:08d}"
    assert len(job.store.folder.rows()) == rows


def test_checkpoints_between_epochs_change_nothing(straight, tmp_path):
    tables = variant("adam")
    tables["train"]["checkpoint_seconds"] = 0.0
    train(tmp_path / "run", tables)
    assert outcome(tmp_path / "run") == straight("adam")[1]


@pytest.mark.fault(2)
def test_a_killed_training_goes_on_from_the_last_checkpoint(straight, tmp_path):
    """An abandoned generator is what a kill leaves: rows and updates after the checkpoint are made again."""
    job = make_job(tmp_path / "run", variant("adam"))
    for event in fit(job):
        if isinstance(event, Step) and event.index == 8:
            break
    job.store.folder.append({"epoch": 2, "half": "a row without its checkpoint"})
    with job.store.folder.metrics.open("ab") as file:
        file.write(b'{"epoch": 3, "torn')
    train(tmp_path / "run", variant("adam"), starts=5)
    assert outcome(tmp_path / "run") == straight("adam")[1]


def test_a_finished_training_is_not_touched(straight, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(straight("adam")[0], path)
    assert train(path, variant("adam")) == []
    assert outcome(path) == straight("adam")[1]


def test_what_is_yielded_is_every_step_and_the_rows_of_the_file(straight):
    path, _, events = straight("adam")
    steps = [e.index for e in events if isinstance(e, Step)]
    rows = [e for e in events if not isinstance(e, Step)]
    assert steps == list(range(18))
    assert [row.to_dict() for row in rows] == RunFolder(path).rows()
    task = make_job(path, variant("adam")).task
    assert [Epoch.read(line, task) for line in RunFolder(path).rows()] == rows
    assert [(r.epoch, r.step) for r in rows] == [(1, 6), (2, 12), (3, 18)]
    assert [r.test is None for r in rows] == [True, True, False]


def test_training_averages_are_those_of_the_steps(straight):
    _, _, events = straight("adam")
    steps = [e for e in events if isinstance(e, Step)][:6]
    row = next(e for e in events if not isinstance(e, Step))
    sizes = torch.tensor([len(s.targets[0]) for s in steps], dtype=torch.float64)
    assert sizes.sum() == 44
    losses = torch.stack([s.losses.double() for s in steps])  # (6, M)
    mean = (losses * sizes[:, None]).sum(0) / sizes.sum()
    assert [row.losses[m] for m in ("m0", "m1")] == pytest.approx(mean.tolist())
    wrong = sum((s.outputs[0].argmax(1) != s.targets[0]).sum().item() for s in steps)
    assert row.train.members["m0"].error == pytest.approx(wrong / 44)


def test_every_update_has_the_rate_of_its_schedule(tmp_path, monkeypatch):
    tables = variant("sgd")
    seen = []
    real = fitting.set_rate
    monkeypatch.setattr(fitting, "set_rate", lambda o, rate: (seen.append(rate), real(o, rate)))
    train_in_parts(tmp_path / "run", tables, polls=4)
    rate = plan_of(toml.parse(tables), 6).rate
    assert seen == [rate(index) for index in range(18)]
    assert len(set(seen)) > 10


# Early stopping


def final_of(job):
    """What the training stands for, found out from its store alone."""
    newest = checkpoint.steps(job.store.folder.checkpoints)[-1]
    position = Position(**checkpoint.load(newest).state["position"])
    return final(job, position.best_step, None)


class Fixed(nn.Module):
    """Learns nothing that matters: what it says in evaluation is a table, one entry per evaluation."""

    def __init__(self, errors):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("said", torch.tensor(0))
        self.errors = errors

    def forward(self, x):
        if self.training:
            return self.weight.expand(len(x), 3)
        wrong = self.errors[min(int(self.said), len(self.errors) - 1)]
        self.said += 1
        row = (x[:, 0, ::2].mean(-1)).argmax(1)  # the bright row: mostly right
        row = torch.where(torch.arange(len(x)) < wrong, (row + 1) % 3, row)
        return nn.functional.one_hot(row, 3).float() + self.weight


def test_early_stopping_takes_the_best_epoch(tmp_path):
    tables = settings(members=1, train__patience=2, train__epochs=9, consensus={})
    job = make_job(tmp_path / "run", tables, members={"m0": Fixed([9, 6, 2, 5, 4, 0])})
    rows = [e for e in fit(job) if not isinstance(e, Step)]
    errors = [row.valid.ensemble.error for row in rows]
    assert len(rows) == 5  # two epochs after the third, which was the best
    assert min(errors) == errors[2]
    kept = [p.name for p in checkpoint.steps(job.store.folder.checkpoints)]
    assert kept == ["step-00000018", "step-00000024", "step-00000030"]
    job.members["m0"].errors = [2]
    found = final_of(job)
    assert found.checkpoint == "step-00000018"
    assert found.valid.ensemble.error == errors[2]
    weights = checkpoint.load(job.store.folder.checkpoints / found.checkpoint).tensors["member-m0"]["weight"]
    assert torch.equal(job.members["m0"].weight.detach(), weights)


def test_without_patience_the_last_epoch_counts(straight):
    path, _, events = straight("adam")
    found = final_of(make_job(path, variant("adam")))
    assert found.checkpoint == "step-00000018"
    assert found.test == events[-1].test
    assert found.epochs == 3
    seconds = sum(r.seconds for r in events if not isinstance(r, Step))
    assert found.seconds == pytest.approx(seconds)
    assert found.samples_per_second == pytest.approx(3 * 44 / seconds)


def test_scores_found_out_again_are_those_of_the_last_epoch(straight):
    """With the predictions that the last epoch has made, and without them."""
    path, _, events = straight("adam")
    job = make_job(path, variant("adam"), starts=3)
    again, at_once = final_of(job), final(job, None, events[-1])
    assert (again.test, again.valid) == (at_once.test, at_once.valid)
    for name in job.members:
        assert torch.equal(again.predictions[name]["logits"], at_once.predictions[name]["logits"])


def test_a_stop_during_the_last_scores_leaves_them_to_a_resume(straight, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(straight("patience")[0], path)
    with pytest.raises(StoppedError, match="stopped after"):
        final_of(make_job(path, variant("patience"), stop=lambda: True))
    assert final_of(make_job(path, variant("patience"))).test.members


# Divergence


class Poisoned(nn.Module):
    """Says nothing finite from the n-th question in training, or in evaluation, on."""

    def __init__(self, *, training=10**9, evaluation=10**9, value=float("nan")):
        super().__init__()
        self.inner = member(0)
        self.limits, self.value = {True: training, False: evaluation}, value
        self.asked = {True: 0, False: 0}

    def forward(self, x):
        self.asked[self.training] += 1
        bad = self.asked[self.training] > self.limits[self.training]
        return self.inner(x) * (self.value if bad else 1.0)


def all_sound(path):
    for step in checkpoint.steps(path / "ckpt"):
        for name, part in checkpoint.load(step).tensors.items():
            assert name == "optimizer" or all(t.isfinite().all() for t in part.values())
    return [p.name for p in checkpoint.steps(path / "ckpt")]


@pytest.mark.fault(8)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_one_member_that_diverges_is_named_and_checkpoints_stay(value, tmp_path):
    members = {"m0": member(0), "m1": Poisoned(training=8, value=value)}
    with pytest.raises(DivergedError, match=r"update 8: the loss of m1 is not a finite number") as caught:
        train(tmp_path / "run", members=members)
    assert "m0" not in str(caught.value)
    assert "gradient clipping usually helps" in str(caught.value)
    assert caught.value.exit_status == 5
    assert all_sound(tmp_path / "run") == ["step-00000006"]
    members = {"m0": member(1), "m1": Poisoned()}
    train(tmp_path / "run", members=members)  # once cured it goes on from there
    assert len(RunFolder(tmp_path / "run").rows()) == 3


@pytest.mark.fault(8)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_member_that_is_not_finite_in_evaluation_only_is_named(value, tmp_path):
    members = {"m0": member(0), "m1": Poisoned(evaluation=1, value=value)}
    with pytest.raises(DivergedError, match=r"predictions of m1.* after 12 updates are not finite"):
        train(tmp_path / "run", members=members)
    assert all_sound(tmp_path / "run") == ["step-00000006"]
    assert len(RunFolder(tmp_path / "run").rows()) == 1


def until(job, index, act):
    """Run a job and do something after that update."""
    for event in fit(job):
        if isinstance(event, Step) and event.index == index:
            act()


@torch.no_grad()
def blow_up(one):
    next(one.parameters())[0] = float("inf")


def test_weights_that_blow_up_in_the_last_update_of_an_epoch_are_not_saved(tmp_path):
    job = make_job(tmp_path / "run")
    with pytest.raises(DivergedError, match="parameters of m1 are not finite after 12 updates"):
        until(job, 11, lambda: blow_up(job.members["m1"]))
    assert all_sound(tmp_path / "run") == ["step-00000006"]
    assert len(job.store.folder.rows()) == 1


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_learning_rate_of_a_million_ends_in_words(kind, tmp_path):
    tables = settings(train__optimizer={"kind": kind, "lr": 1e6}, train__epochs=30, consensus__weight=10.0)
    with suppress(DivergedError):  # Adam may stay finite
        train(tmp_path / "run", tables)
    all_sound(tmp_path / "run")
    for row in RunFolder(tmp_path / "run").rows():
        json.dumps(row, allow_nan=False)


# Changes on the way


@pytest.fixture
def stopped(tmp_path):
    """A run stopped after 8 of 18 updates."""
    path = tmp_path / "run"
    with pytest.raises(StoppedError):
        train(path, stop=after(9))
    assert checkpoint.steps(path / "ckpt")[-1].name == "step-00000008"
    return path


CHANGES = {
    "train.epochs: 3 -> 5": {"train__epochs": 5},
    "train.optimizer.lr: 0.01 -> 0.5": {"train__optimizer": {"kind": "adam", "lr": 0.5}},
    "consensus.weight: 0.1 -> 0.2": {"consensus__weight": 0.2},
    "augment.flip: False -> True": {"augment__flip": True},
    "train.seed: 0 -> 1": {"train__seed": 1},
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_configuration_is_refused_by_name_and_goes_on_when_allowed(change, stopped):
    before = outcome(stopped)
    tables = settings(**CHANGES[change])
    with pytest.raises(CheckpointError, match="--allow-changes") as caught:
        train(stopped, tables)
    assert f"\n  {change}\n" in str(caught.value)
    assert outcome(stopped) == before
    told = []
    train(stopped, tables, allow_changes=True, warn=told.append)
    assert change in told[0]
    assert RunFolder(stopped).config() == toml.parse(tables)
    assert train(stopped, tables) == []  # it is the run's configuration from now on


def test_other_data_is_refused_and_goes_on_when_allowed(stopped):
    other = splits(seed=50)
    with pytest.raises(CheckpointError, match=rf"data: {splits().fingerprint[:12]}\.\.\. -> "):
        train(stopped, data=other)
    told = []
    train(stopped, data=other, allow_changes=True, warn=told.append)
    assert "data: " in told[0]
    assert len(RunFolder(stopped).rows()) == 3


def test_a_change_before_the_first_checkpoint_is_refused_too(tmp_path):
    make_job(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"train\.epochs: 3 -> 4"):
        train(tmp_path / "run", settings(train__epochs=4))
    train(tmp_path / "run", settings(train__epochs=4), allow_changes=True, warn=lambda text: None)
    assert RunFolder(tmp_path / "run").config().train.epochs == 4


@pytest.mark.parametrize("size", [4, 16, 44])
def test_another_batch_size_begins_the_epoch_again_under_new_numbers(size, stopped):
    tables = settings(train__batch_size=size)
    steps = -(-44 // size)
    events = train(stopped, tables, allow_changes=True, warn=lambda text: None)
    assert [e.index for e in events if isinstance(e, Step)] == list(range(steps, 3 * steps))
    assert checkpoint.steps(stopped / "ckpt")[-1].name == f"step-{3 * steps:08d}"
    rows = RunFolder(stopped).rows()
    assert [r["epoch"] for r in rows] == [1, 2, 3]


def test_a_run_with_another_batch_size_resumes_exactly_from_then_on(stopped, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(stopped, copy)
    tables, quiet = settings(train__batch_size=16), (lambda text: None)
    train(stopped, tables, allow_changes=True, warn=quiet)
    with pytest.raises(StoppedError):
        train(copy, tables, allow_changes=True, warn=quiet, stop=after(2))
    train(copy, tables, starts=3)
    assert outcome(copy) == outcome(stopped)


def test_another_optimiser_starts_its_moments_anew(stopped):
    told = []
    train(stopped, settings(train__optimizer=SGD), allow_changes=True, warn=told.append)
    assert any("sgd cannot use the moments of adam" in text for text in told)
    found = checkpoint.newest(stopped / "ckpt")[0]
    assert {key.rpartition("/")[2] for key in found.tensors["optimizer"]} == {"momentum_buffer"}


def test_members_of_a_run_cannot_be_changed(stopped):
    for members in (1, 3):
        with pytest.raises(CheckpointError, match="it has m0, m1"):
            train(stopped, settings(members), allow_changes=True)
    turned = settings()
    turned["members"].reverse()
    with pytest.raises(CheckpointError, match="members of a run cannot be changed"):
        train(stopped, turned, allow_changes=True)


def test_a_finished_run_takes_more_epochs_and_nothing_else(straight, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(straight("adam")[0], path)
    (path / "result.json").write_text("{}")
    for change in ({"consensus__weight": 0.3}, {"train__epochs": 2}):
        with pytest.raises(CheckpointError, match=r"has 3 epochs already; train\.epochs must be larger"):
            train(path, settings(**change), allow_changes=True, warn=lambda text: None)
    assert (path / "result.json").exists()
    train(path, settings(train__epochs=5), allow_changes=True, warn=lambda text: None)
    assert not (path / "result.json").exists()  # it was that of 3 epochs
    rows = RunFolder(path).rows()
    assert [r["epoch"] for r in rows] == [1, 2, 3, 4, 5]
    assert rows[-1]["test"]


def test_a_run_that_stopped_early_needs_more_patience(tmp_path):
    path = tmp_path / "run"
    tables = settings(members=1, train__patience=1, train__epochs=9, consensus={})
    members = {"m0": Fixed([2, 9])}
    train(path, tables, members=members)
    assert len(RunFolder(path).rows()) == 2
    with pytest.raises(CheckpointError, match=r"train\.patience must be larger"):
        train(
            path, tables | {"data": {"seed": 3}}, members=members, allow_changes=True, warn=lambda text: None
        )
    more = settings(members=1, train__patience=3, train__epochs=9, consensus={})
    train(path, more, members={"m0": Fixed([9])}, allow_changes=True, warn=lambda text: None)
    assert len(RunFolder(path).rows()) == 4


# Damaged and foreign checkpoints


def damage(path):
    file = path / "member-m0.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_falling_back_to_the_checkpoint_before_is_loud_and_exact(straight, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(straight("adam")[0], path)
    damage(path / "ckpt" / "step-00000018")
    told = []
    train(path, variant("adam"), warn=told.append, starts=4)
    assert len(told) == 1
    assert "step-00000018/member-m0.safetensors: damaged" in told[0]
    assert "falling back to an earlier checkpoint" in told[0]
    assert outcome(path) == straight("adam")[1]


def test_damaged_checkpoints_do_not_push_out_sound_ones(tmp_path):
    """Two damaged ones ahead of a sound one: what is saved between them must survive."""
    path, tables = tmp_path / "run", settings(train__checkpoint_seconds=0.0)
    with pytest.raises(StoppedError):
        train(path, tables, stop=after(5))
    for step in ("step-00000011", "step-00000012"):
        shutil.copytree(path / "ckpt" / "step-00000005", path / "ckpt" / step)
    told = []
    with pytest.raises(StoppedError):
        train(path, tables, stop=after(3), warn=told.append)
    assert len(told) == 2
    assert [p.name for p in checkpoint.steps(path / "ckpt")] == ["step-00000006", "step-00000007"]
    train(path, tables)


def test_all_checkpoints_damaged_is_an_error_that_changes_nothing(straight, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(straight("adam")[0], path)
    for step in checkpoint.steps(path / "ckpt"):
        damage(step)
    rows = RunFolder(path).rows()
    with pytest.raises(CheckpointError, match="no checkpoint can be used"):
        train(path, variant("adam"))
    assert RunFolder(path).rows() == rows
    with pytest.raises(CheckpointError, match="no checkpoint can be used"):
        weights.standing(RunFolder(path))


def test_lost_metrics_are_missed_before_anything_is_trained(straight, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(StoppedError):
        train(path, stop=after(10))
    (path / "metrics.jsonl").unlink()
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl has 0 bytes"):
        train(path)


def test_a_checkpoint_of_another_network_is_refused(stopped):
    members = {"m0": member(0), "m1": nn.Sequential(nn.Flatten(), nn.Linear(36, 3))}
    with pytest.raises(CheckpointError, match="member 'm1' was made for noel2017_st, this is Sequential"):
        train(stopped, members=members)


@pytest.mark.parametrize("missing", ["position", "config", "steps"])
def test_a_checkpoint_that_is_not_of_a_training_is_refused(missing, stopped):
    found = checkpoint.newest(stopped / "ckpt")[0]
    state = {k: v for k, v in found.state.items() if k != missing}
    checkpoint.save(stopped / "ckpt", 9, found.tensors, state)
    with pytest.raises(CheckpointError):
        train(stopped)
    checkpoint.save(stopped / "ckpt", 9, found.tensors, found.state | {"position": {"epochs": 3}})
    with pytest.raises(CheckpointError, match="not the checkpoint of a training"):
        train(stopped)


def test_sums_of_an_epoch_begun_by_another_version_are_refused_with_the_way_out(stopped):
    found = checkpoint.newest(stopped / "ckpt")[0]
    totals = found.tensors["totals"] | {"tally": found.tensors["totals"]["tally"][:-1].clone()}
    checkpoint.save(stopped / "ckpt", 9, found.tensors | {"totals": totals}, found.state)
    with pytest.raises(CheckpointError, match=r"step-00000009 holds the sums .* another version"):
        train(stopped)
    shutil.rmtree(stopped / "ckpt" / "step-00000009")  # the way out
    assert train(stopped)


def test_the_standing_checkpoint_is_the_newest_sound_one_and_says_so(stopped):
    run = RunFolder(stopped)
    assert weights.standing(run).path.name == "step-00000008"
    damage(stopped / "ckpt" / "step-00000008")
    told = []
    assert weights.standing(run, told.append).path.name == "step-00000006"
    assert "damaged" in told[0]
    with pytest.raises(CheckpointError, match=r"damaged.* without --strict an earlier checkpoint is used"):
        weights.standing(run, strict=True)
    run.write_json("result.json", {"checkpoint": "step-00000006"})
    assert weights.standing(run).path.name == "step-00000006"


def test_a_kdcl_run_of_a_version_with_other_weights_is_told(tmp_path):
    tables = settings(members=3, consensus__cost="kdcl_naive")
    path = tmp_path / "run"
    with pytest.raises(StoppedError):
        train(path, tables, stop=after(3))
    found = checkpoint.newest(path / "ckpt")[0]
    state = {k: v for k, v in found.state.items() if k != "interface"}  # as that version left it
    checkpoint.save(path / "ckpt", int(found.path.name[5:]), found.tensors, state)
    with pytest.raises(CheckpointError, match="the weight of a KDCL target"):
        train(path, tables)
    assert train(path, tables, allow_changes=True, warn=lambda text: None)


def test_a_strict_resume_refuses_a_damaged_newest_checkpoint_and_leaves_everything(stopped):
    damage(stopped / "ckpt" / "step-00000008")
    before = {file: file.read_bytes() for file in stopped.rglob("*") if file.is_file()}
    with pytest.raises(CheckpointError, match=r"damaged.* without --strict an earlier checkpoint is used"):
        list(fit(make_job(stopped, strict=True)))
    assert {file: file.read_bytes() for file in stopped.rglob("*") if file.is_file()} == before
    list(fit(make_job(stopped, warn=lambda text: None)))


def test_a_run_without_a_checkpoint_stands_for_nothing_yet(tmp_path):
    job = make_job(tmp_path / "run")
    with pytest.raises(CheckpointError, match="has no checkpoint yet; `concord resume"):
        weights.standing(job.store.folder)


def test_members_come_back_from_a_checkpoint(straight):
    path, (last, _, _), _ = straight("adam")
    members = {"m0": member(8), "m1": member(9)}
    weights.fill(members, checkpoint.load(path / "ckpt" / last))
    saved = checkpoint.load(path / "ckpt" / last).tensors
    for name, one in members.items():
        assert all(torch.equal(one.state_dict()[k], v) for k, v in saved[f"member-{name}"].items())
    with pytest.raises(CheckpointError, match="has no member 'x'"):
        weights.fill({"x": member(0)}, checkpoint.load(path / "ckpt" / last))


# Full disks


@pytest.mark.parametrize("stage", ["save", "append"])
def test_a_full_disk_ends_the_training_and_loses_nothing_before_it(stage, straight, tmp_path, monkeypatch):
    path = tmp_path / "run"
    job = make_job(path)
    place = checkpoint if stage == "save" else RunFolder

    def fail(*arguments):
        raise ResourceError("the disk is full")

    with pytest.raises(ResourceError):
        until(job, 8, lambda: monkeypatch.setattr(place, stage, fail))
    monkeypatch.undo()
    assert all_sound(path) == ["step-00000006"]
    train(path, starts=3)
    assert outcome(path) == straight("adam")[1]


def test_saving_between_epochs_follows_the_clock(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    job = make_job(tmp_path / "run", settings(train__checkpoint_seconds=10.0))
    seen = []
    for event in fit(job):
        if isinstance(event, Step):
            seen.append([p.name[-2:] for p in checkpoint.steps(job.store.folder.checkpoints)])
            now[0] += 4.0
    assert seen[:7] == [[], [], [], ["03"], ["03"], ["03"], ["03", "06"]]


def test_evaluation_needs_samples(tmp_path):
    job = make_job(tmp_path / "run")
    with pytest.raises(UsageError, match="there are no samples"):
        evaluate.evaluate(job.members, [], job.task)
