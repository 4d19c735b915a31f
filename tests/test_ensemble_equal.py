"""What Ensemble computes equals what plain torch and scikit-learn compute."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from python_made import Big, Small, data, members, same, states
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import concord
from concord.data.batches import indices
from concord.errors import StoppedError

FIT = {"epochs": 2, "batch_size": 16}


def trained(given, made=None, *, consensus="l2", weight=0.1, task="classify", **options):
    ensemble = concord.Ensemble(made or members(), consensus=consensus, weight=weight, task=task)
    ensemble.fit(given, **(FIT | options))
    return ensemble


def test_weight_0_gives_every_member_the_weights_that_it_gets_alone():
    together = trained(data(), consensus="none", weight=0.0)
    for name, member in members().items():
        alone = trained(data(), {name: member}, consensus="none", weight=0.0)
        own = {key: value for key, value in states(together).items() if key.startswith(name)}
        assert same(own, states(alone))


def test_fit_is_a_loop_of_plain_torch_over_the_same_batches():
    """sum_i CE(f_i(x), y) + 0.1 (l2(f_1, sg f_2) + l2(f_2, sg f_1)), averaged over the batch, Adam."""
    x, y = data()
    made = {"a": Small(), "b": nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))}
    twins = {"a": Small(), "b": nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))}
    for name, member in made.items():
        twins[name].load_state_dict(member.state_dict())
    trained(
        (x, y), made, valid=None, seed=3, schedule=None, optimizer=concord.Adam(lr=0.01, weight_decay=0.0)
    )

    adam = torch.optim.Adam([p for m in twins.values() for p in m.parameters()], lr=0.01)
    for epoch in range(2):
        for index in indices(len(x), batch_size=16, seed=3, epoch=epoch):
            a, b = (member(x[index]) for member in twins.values())
            apart = (a - b.detach()).square().sum(1) + (b - a.detach()).square().sum(1)
            loss = F.cross_entropy(a, y[index]) + F.cross_entropy(b, y[index]) + 0.1 * apart.mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
    for name, member in made.items():
        for key, value in member.state_dict().items():
            torch.testing.assert_close(value, twins[name].state_dict()[key], rtol=1e-4, atol=1e-6)


def test_a_torch_optimizer_takes_the_same_steps_as_the_one_of_concord():
    made = members()
    own = torch.optim.SGD([p for m in made.values() for p in m.parameters()], lr=0.05, momentum=0.9)
    one = trained(data(), made, optimizer=own)
    other = trained(data(), schedule=None, optimizer=concord.Sgd(lr=0.05, weight_decay=0.0))
    for key, value in states(one).items():
        torch.testing.assert_close(value, states(other)[key], rtol=1e-5, atol=1e-6)


def test_scores_are_those_of_scikit_learn():
    ensemble = trained(data())
    x, y = data(700, seed=1)  # more than one batch of evaluation
    scores = ensemble.evaluate((x, y))
    logits = {name: member.eval()(x).detach().double() for name, member in ensemble.members.items()}
    logits["ensemble"] = sum(logits.values()) / 2
    for name, z in logits.items():
        figures = scores.ensemble if name == "ensemble" else scores.members[name]
        assert 1 - figures.error == pytest.approx(accuracy_score(y, z.argmax(1)))
        assert figures.nll == pytest.approx(log_loss(y, z.softmax(1)), rel=1e-5)
        assert figures.balanced_accuracy == pytest.approx(balanced_accuracy_score(y, z.argmax(1)))
    assert ensemble.member("big").evaluate((x, y)) == scores.members["big"]


def test_predictions_are_softmax_and_argmax_of_the_modules_themselves():
    ensemble = trained(data())
    x, _ = data(1100, seed=2)  # more than two batches of prediction
    with torch.no_grad():
        small, big = ensemble["small"].eval()(x), ensemble["big"].eval()(x)
    torch.testing.assert_close(ensemble.member("small").predict_proba(x), small.softmax(1))
    torch.testing.assert_close(ensemble.predict_proba(x), ((small + big) / 2).softmax(1))
    assert torch.equal(ensemble.predict(x), ((small + big) / 2).argmax(1))
    assert torch.equal(ensemble.member("big").predict(x), big.argmax(1))
    arrays = ensemble.predict_proba(x.numpy())
    assert isinstance(arrays, np.ndarray)
    assert np.array_equal(arrays, ensemble.predict_proba(x).numpy())


class Pairs(Dataset):
    """A data set of the user's own: no tensor knows of its pairs."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], int(self.y[i])


def test_tensors_arrays_lists_and_data_sets_give_the_same_weights():
    x, y = data(60)
    forms = {
        "arrays": (x.numpy(), y.numpy()),
        "doubles": (x.double(), y.int()),
        "lists": (x.tolist(), y.tolist()),
        "TensorDataset": TensorDataset(x, y),
        "Dataset": Pairs(x, y),
    }
    wanted = states(trained((x, y)))
    assert {name for name, form in forms.items() if not same(states(trained(form)), wanted)} == set()
    assert same(states(trained((x, y), workers=1)), wanted)


@pytest.mark.parametrize("keep", ["memory", "decode"])
def test_pictures_of_load_data_are_normalised_by_those_that_are_trained_on(keep, tmp_path):
    numbers = np.random.default_rng(0)
    for name, low in (("cat", 0), ("dog", 60), ("eel", 120)):
        (tmp_path / name).mkdir()
        for i in range(12):
            grey = numbers.integers(low, low + 130, (8, 8), dtype=np.uint8)
            Image.fromarray(grey).save(tmp_path / name / f"{i}.png")

    def network():
        torch.manual_seed(1)
        return {"a": nn.Sequential(nn.Flatten(), nn.Linear(64, 3))}

    splits = concord.load_data(tmp_path, size=8, keep=keep, workers=0)
    own = concord.Ensemble(network())
    history = own.fit(splits, **FIT)

    mean = splits.train.pixels.double().mean().item()
    std = splits.train.pixels.double().std(correction=0).item()
    train, valid, test = (
        ((part.pixels.float() - mean) / std, part.labels)
        for part in (splits.train, splits.valid, splits.test)
    )
    twin = trained(train, network(), consensus="none", weight=0.0, valid=valid)
    for key, value in states(twin).items():
        torch.testing.assert_close(states(own)[key], value)
    assert own.evaluate(splits.test) == history.test
    torch.testing.assert_close(own.predict_proba(splits.test), twin.predict_proba(test[0]))


def test_a_loader_in_the_order_of_concord_gives_the_same_weights():
    x, y = data(64)
    batches = [index for epoch in range(2) for index in indices(64, batch_size=16, seed=0, epoch=epoch)]

    class Order:
        def __init__(self):
            self.epoch = -1

        def __iter__(self):
            self.epoch += 1
            start = 4 * (self.epoch % 2)  # the third pass is that of the scores
            return (index.tolist() for index in batches[start : start + 4])

        def __len__(self):
            return 4

    loader = DataLoader(TensorDataset(x, y), batch_sampler=Order())
    one = trained(loader, valid=None, task=concord.Classify(3))
    assert same(states(one), states(trained((x, y), valid=None)))


def test_several_inputs_are_the_arguments_of_a_member():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 3), nn.Linear(2, 3)

        def forward(self, left, right):
            return self.a(left) + self.b(right)

    class Joined(nn.Module):
        def __init__(self, two):
            super().__init__()
            self.a, self.b = two.a, two.b

        def forward(self, x):
            return self.a(x[:, :2]) + self.b(x[:, 2:])

    x, y = data()
    torch.manual_seed(0)
    two = Two()
    torch.manual_seed(0)
    joined = Joined(Two())
    one = trained(((x[:, :2], x[:, 2:]), y), {"m": two})
    other = trained((x, y), {"m": joined})
    assert same(states(one), states(other))
    assert torch.equal(one.predict((x[:, :2], x[:, 2:])), other.predict(x))


def test_a_frozen_member_teaches_and_stays_as_it_is():
    made = members()
    made["big"].requires_grad_(False)
    before = {key: value.clone() for key, value in made["big"].state_dict().items()}
    free = states(trained(data(), {"small": members()["small"]}, consensus="none", weight=0.0))
    ensemble = trained(data(), made, consensus="kl", weight=1.0)
    assert all(torch.equal(value, before[key]) for key, value in made["big"].state_dict().items())
    assert not torch.equal(ensemble["small"].dense.weight, free["small.dense.weight"])


def test_lazy_layers_get_their_sizes_and_start_differently():
    torch.manual_seed(0)
    made = {"a": nn.LazyLinear(3), "b": nn.LazyLinear(3)}
    ensemble = concord.Ensemble(made)
    ensemble.fit(data(), epochs=1, optimizer=concord.Sgd(lr=1e-4))
    assert made["a"].weight.shape == (3, 4)
    assert not torch.allclose(made["a"].weight, made["b"].weight)


def test_the_best_epoch_is_kept_with_patience():
    x, y = data()
    ensemble = concord.Ensemble(members())
    history = ensemble.fit(
        (x, y), valid=(x, y.roll(1)), epochs=12, patience=2, optimizer=concord.Adam(lr=0.05), batch_size=16
    )
    errors = [epoch.valid.ensemble.error for epoch in history.epochs]
    assert history.best_epoch == 1 + errors.index(min(errors))
    assert len(history) == min(12, history.best_epoch + 2)
    assert ensemble.evaluate((x, y.roll(1))).ensemble.error == min(errors)


@pytest.mark.parametrize("generator", [False, True])
def test_a_stopped_training_continues_exactly_within_an_epoch_of_a_shuffling_loader(generator, tmp_path):
    x, y = data(64)

    def loader():
        own = torch.Generator() if generator else None
        return DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True, generator=own)

    task = concord.Classify(3)
    straight = trained(loader(), valid=None, task=task)
    polls = iter(range(1000))

    def fifth():
        return next(polls) == 12  # in the second epoch

    with pytest.raises(StoppedError, match=r"saved: `fit\(\.\.\., out='.*'\)` continues"):
        trained(loader(), members(), valid=None, task=task, out=tmp_path / "run", stop=fifth)
    torch.manual_seed(99)
    again = trained(loader(), members(7), valid=None, task=task, out=tmp_path / "run")
    assert same(states(again), states(straight))


def test_a_loader_with_a_worker_continues_exactly_at_the_end_of_an_epoch(tmp_path):
    x, y = data(64)

    def loader():
        return DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True, num_workers=1)

    task = concord.Classify(3)
    straight = trained(loader(), valid=None, task=task)

    class Once(concord.training.observer.Silent):
        ended = False

        def epoch(self, epoch):
            self.ended = True

    seen = Once()
    with pytest.raises(StoppedError):
        trained(loader(), valid=None, task=task, out=tmp_path / "run", observer=seen, stop=lambda: seen.ended)
    again = trained(loader(), members(7), valid=None, task=task, out=tmp_path / "run")
    assert same(states(again), states(straight))


def test_a_big_module_is_not_like_a_small_one():  # or the tests above would compare nothing
    assert sum(p.numel() for p in Big().parameters()) > sum(p.numel() for p in Small().parameters())
