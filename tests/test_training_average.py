"""Averages of weights: the formula, that training does not notice them, and what a run then stands for."""

import pytest
import streams_made
import torch
from binary_made import MIDDLES, latent, small
from checkpoint_made import content
from python_made import data, members, same, states
from run_made import after, make_job, member, settings, train
from safetensors.torch import load_file

import concord
from concord.errors import CheckpointError, StoppedError, UsageError
from concord.layers.binary.convolution import XNORConv2d
from concord.training import checkpoint
from concord.training.average import blended, decay_of
from concord.training.fit import Training, fit
from concord.training.loop import Step
from concord.training.observer import Silent

FIT = {"epochs": 3, "batch_size": 16}


def newest(path):
    return checkpoint.load(checkpoint.steps(path / "ckpt")[-1])


def weights(found, kind):
    """The tensors of every member of that kind of file, without what is beside them."""
    return {
        f"{file.removeprefix(kind)}.{key}": tensor
        for file, tensors in found.tensors.items()
        if file.startswith(kind)
        for key, tensor in tensors.items()
        if not key.startswith("beside/")
    }


# The formula


def test_the_decay_rises_from_a_tenth_to_the_one_chosen():
    assert [decay_of(0.6, t) for t in (0, 5, 12, 13, 10**6)] == [0.1, 0.4, 13 / 22, 0.6, 0.6]


def test_the_average_by_hand():
    average = {"w": torch.tensor([2.0, -1.0]), "n": torch.tensor(3), "old": torch.tensor([5.0])}
    current = {"w": torch.tensor([4.0, 7.0]), "n": torch.tensor(8), "old": torch.tensor([1.0, 2.0])}
    found = blended(average, current, 0.75)
    assert found["w"].tolist() == [0.75 * 2 + 0.25 * 4, -0.75 + 0.25 * 7]
    assert found["n"] == 8  # a count is that of the last update
    assert found["old"].tolist() == [1, 2]  # of another size: begun again
    assert average["w"].tolist() == [2, -1]


def test_what_does_not_change_is_its_own_average_bit_for_bit():
    numbers = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    average = {"w": numbers}
    for index in range(20):
        average = blended(average, {"w": numbers}, decay_of(0.999, index))
    assert torch.equal(average["w"], numbers)


def test_extra_state_is_not_averaged():
    pair = [{"layer._extra_state": torch.tensor([value])} for value in (1.0, 3.0)]
    assert blended(pair[0], pair[1], 0.5)["layer._extra_state"] == 3


# A training


def kept(path, **changes):
    """Members after each update, and those that the last checkpoint holds, of a run with these settings."""
    job = make_job(path, settings(**changes))
    seen = [states(job)]
    seen += [states(job) for event in fit(job) if isinstance(event, Step)]
    return seen, newest(path)


@pytest.mark.parametrize("update", ["simultaneous", "alternating"])
def test_members_are_the_averages_of_the_weights_that_a_training_without_them_has(tmp_path, update):
    seen, plain = kept(tmp_path / "plain", train__update=update)
    same_seen, found = kept(tmp_path / "ema", train__update=update, train__ema=0.8)
    assert all(same(one, other) for one, other in zip(seen, same_seen, strict=True))
    average = {key: tensor.double() for key, tensor in seen[0].items()}
    for t, now in enumerate(seen[1:]):
        d = min(0.8, (1 + t) / (10 + t))
        average = {key: d * average[key] + (1 - d) * now[key] for key in now}
    averaged = weights(found, "member-")
    for key, tensor in averaged.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor.double(), average[key], rtol=1e-5, atol=1e-6)
            assert not torch.equal(tensor, seen[-1][key])
    assert averaged["m0.1.num_batches_tracked"] == 18
    assert same(weights(found, "raw-"), seen[-1])
    assert same(weights(plain, "member-"), seen[-1])
    assert not weights(plain, "raw-")


def test_a_run_is_scored_as_its_averages_and_ends_as_them(tmp_path):
    job = make_job(tmp_path / "run", settings(train__ema=0.8, train__test="epoch"))
    rows = [event for event in fit(job) if not isinstance(event, Step)]
    averaged = weights(newest(tmp_path / "run"), "member-")
    ended = states(job)
    assert same(averaged, ended)
    with torch.no_grad():
        logits = {name: [] for name in job.members}
        for x, _ in job.feed.test():
            for name, one in job.members.items():
                logits[name].append(one.eval()(x))
    for name, parts in logits.items():
        assert torch.equal(torch.cat(parts), rows[-1].predictions[name]["logits"])


def test_a_checkpoint_of_a_training_in_progress_holds_both(tmp_path):
    job = make_job(tmp_path / "run", settings(train__ema=0.8), stop=after(4))
    with pytest.raises(StoppedError):
        list(fit(job))
    found = newest(tmp_path / "run")
    raw = states(job)
    assert same(weights(found, "raw-"), raw)
    assert weights(found, "member-").keys() == raw.keys()
    assert not same(weights(found, "member-"), raw)


def test_teachers_and_retired_members_have_no_average_of_their_own(tmp_path):
    job = make_job(tmp_path / "run", settings(train__ema=0.8), stop=after(4))
    with pytest.raises(StoppedError):
        list(fit(job))
    before = weights(newest(tmp_path / "run"), "member-")
    tables = settings(train__ema=0.8)
    tables["members"][1]["retired"] = True
    made = {"m0": member(5), "m1": member(6).requires_grad_(False)}
    train(tmp_path / "run", tables, members=made, warn=lambda text: None)
    found = newest(tmp_path / "run")
    assert {key.partition(".")[0] for key in weights(found, "raw-")} == {"m0"}
    after_it = weights(found, "member-")
    for key, tensor in before.items():  # retired as the average that it was
        assert torch.equal(tensor, after_it[key]) == key.startswith("m1")


# Changed settings, damage, refusals


def test_a_run_without_averages_continues_with_them_and_back(tmp_path):
    path = tmp_path / "run"
    train(path, settings(train__epochs=1))
    options = {"allow_changes": True, "warn": lambda text: None}
    train(path, settings(train__epochs=2, train__ema=0.8), **options)
    raw = weights(newest(path), "raw-")
    assert len(raw) == len(weights(newest(path), "member-"))
    training = Training(make_job(path, settings(train__epochs=3), **options))
    training.restore()
    assert same(raw, states(training.job))


def test_a_checkpoint_that_lacks_the_raw_weights_of_a_member_is_refused(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(StoppedError):
        train(path, settings(train__ema=0.8), stop=after(4))
    found = newest(path)
    rest = {name: tensors for name, tensors in found.tensors.items() if name != "raw-m1"}
    checkpoint.save(path / "ckpt", 4, rest, found.state)
    with pytest.raises(CheckpointError, match=r"raw-\*\.safetensors has no member 'm1'"):
        train(path, settings(train__ema=0.8))
    rest["raw-m1"] = content(4)[0]["member-a"]
    checkpoint.save(path / "ckpt", 4, rest, found.state)
    with pytest.raises(
        CheckpointError, match=r"raw-\*\.safetensors: member 'm1' was made for another network"
    ):
        train(path, settings(train__ema=0.8))


@pytest.mark.parametrize("ema", [1.0, -0.1, 2])
def test_a_decay_that_keeps_everything_or_less_than_nothing_is_refused(ema):
    with pytest.raises(UsageError, match="ema"):
        concord.Ensemble(members()).fit(data(), epochs=1, ema=ema)


def test_members_of_half_precision_are_refused_before_a_folder_is_made(tmp_path):
    half = {name: one.bfloat16() for name, one in members().items()}
    given = (data()[0].bfloat16(), data()[1])
    with pytest.raises(UsageError, match=r"member 'small': dense.weight is bfloat16.*use member.float\(\)"):
        concord.Ensemble(half).fit(given, epochs=1, ema=0.9, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# In Python


@pytest.mark.parametrize("optimizer", [None, "own"])
def test_a_fit_in_memory_gives_the_weights_of_one_with_a_folder_stopped_on_the_way(tmp_path, optimizer):
    def fitted(seed, **options):
        made = concord.Ensemble(members(seed), consensus="l2", weight=0.1)
        if optimizer:
            parameters = [p for one in made.members.values() for p in one.parameters()]
            options["optimizer"] = torch.optim.RMSprop(parameters, lr=0.01)
        return made, made.fit(data(), ema=0.9, **FIT, **options)

    whole, history = fitted(0)
    for start in (0, 1, 2):
        with pytest.raises(StoppedError):
            fitted(start, out=tmp_path / "run", stop=after(4))
    again, resumed = fitted(9, out=tmp_path / "run")
    assert same(states(again), states(whole))
    assert [e.valid for e in resumed.epochs] == [e.valid for e in history.epochs]
    assert same(states(concord.load(tmp_path / "run", members=members(3))), states(whole))
    plain = concord.Ensemble(members(0), consensus="l2", weight=0.1)
    plain.fit(data(), **FIT)
    assert not same(states(plain), states(whole))


def test_the_best_epoch_is_that_of_the_averages(tmp_path):
    made = concord.Ensemble(members())
    history = made.fit(data(), ema=0.9, **(FIT | {"epochs": 6}), patience=1, valid=data(40, seed=1))
    best = history.epochs[history.best_epoch - 1]
    assert made.evaluate(data(40, seed=1)).ensemble == best.valid.ensemble


# Whoever reads a run


def test_binary_members_average_their_latent_weights_and_take_the_signs_of_the_average():
    x, y = torch.randn(24, 1, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 3
    made = concord.Ensemble({name: small(seed, MIDDLES[name]) for seed, name in enumerate(("xnor", "bwn"))})
    average = {name: latent(one)[0].detach().clone() for name, one in made.members.items()}

    class Watch(Silent):
        def update(self, step):
            d = min(0.7, (1 + step.index) / (10 + step.index))
            for name, one in made.members.items():
                assert latent(one)[0].abs().max() == 1  # clipped, as without averages
                average[name] = d * average[name] + (1 - d) * latent(one)[0].detach()

    choice = {"optimizer": concord.Sgd(lr=100.0), "clip": 1.0, "ema": 0.7}
    made.fit((x, y), valid=None, epochs=3, batch_size=6, **choice, observer=Watch())
    for name, one in made.members.items():
        torch.testing.assert_close(latent(one)[0].detach(), average[name], rtol=1e-5, atol=1e-6)
        assert latent(one)[0].abs().max() <= 1
    layer, maps = made["xnor"][2], torch.randn(2, 4, 6, 6)
    twin = XNORConv2d(4, 5, 3)
    twin.load_state_dict(layer.state_dict() | {"weight": average["xnor"]})
    torch.testing.assert_close(layer(maps), twin(maps))


def test_a_run_of_the_command_line_is_evaluated_exported_and_taught_from_as_its_averages(tmp_path):
    one = {"name": "a", "network": "noel2017_st(filters=4)"}
    tables = {
        "members": [one],
        "data": {"limit": 128},
        "train": {"epochs": 2, "batch_size": 32, "threads": 1, "precision": "float32", "ema": 0.9},
    }
    result = concord.train(tables, tmp_path / "run")
    assert concord.evaluate(tmp_path / "run")["members"]["a"]["nll"] == result["members"]["a"]["nll"]
    concord.load(tmp_path / "run").export("a", tmp_path / "a.safetensors")
    averaged = {k: t for k, t in newest(tmp_path / "run").tensors["member-a"].items() if "beside" not in k}
    assert same(load_file(tmp_path / "a.safetensors"), averaged)
    taught = tables | {
        "members": [one, {"name": "b", "network": one["network"], "teacher": str(tmp_path / "run")}]
    }
    concord.train(taught, tmp_path / "taught")
    found = newest(tmp_path / "taught")
    assert all(torch.equal(found.tensors["member-b"][key], averaged[key]) for key in averaged)
    assert "raw-b" not in found.tensors
    assert "raw-a" in found.tensors


def test_members_that_carry_a_state_over_streams_average_their_weights_and_resume_bit_for_bit(tmp_path):
    def fitted(**options):
        made = streams_made.ensemble()
        made.fit(streams_made.TRAIN, **streams_made.FIT, ema=0.9, **options)
        return made

    whole = fitted()
    for _ in range(2):
        with pytest.raises(StoppedError):
            fitted(out=tmp_path / "run", stop=after(9))
    assert same(states(fitted(out=tmp_path / "run")), states(whole))
