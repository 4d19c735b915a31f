"""Members that a user's factory builds: what it settled is kept; what cannot be is refused in time."""

import json
from pathlib import Path

import pytest
import torch
from run_made import Noted, after, write_npz
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import TensorDataset

import concord
from concord.errors import StoppedError, UsageError
from concord.training.checkpoint import steps

NETS = """
import itertools, random, threading
import numpy as np
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.norm, self.dense = nn.BatchNorm2d(channels), nn.Linear(channels * 36, classes)
    def forward(self, x):
        return self.dense(self.norm(x).flatten(1))

def frozen(channels, classes):
    net = Net(channels, classes)
    net.dense.weight.data = torch.linspace(-1, 1, net.dense.weight.numel()).view_as(net.dense.weight)
    net.dense.weight.requires_grad_(False)
    return net

def still(channels, classes):
    net = Net(channels, classes)
    net.norm.eval()
    return net

def idle(channels, classes):
    return Net(channels, classes).requires_grad_(False)

class Noisy(Net):
    def __init__(self, channels, classes):
        super().__init__(channels, classes)
        self.register_buffer("mean", torch.zeros(channels), persistent=False)
        self.dice, self.python_dice, self.passes = np.random.default_rng(0), random.Random(1), 0
    def forward(self, x):
        if self.training:
            self.mean += 0.1 * x.mean((0, 2, 3)).detach()
            self.passes += 1
            x = x + self.dice.random() + self.python_dice.random() + 1 / self.passes
        return super().forward(x - self.mean.view(1, -1, 1, 1))

class Wired(nn.Module):
    def __init__(self, channels, classes, chosen):
        super().__init__()
        self.chosen, self.dense = torch.as_tensor(chosen), nn.Linear(10, classes)
    def forward(self, x):
        return self.dense(x.flatten(1)[:, self.chosen])

def wired(channels, classes):
    return Wired(channels, classes, np.random.permutation(channels * 36)[:10])

def wired_python(channels, classes):
    return Wired(channels, classes, random.sample(range(channels * 36), 10))

def wired_anew(channels, classes):
    return Wired(channels, classes, np.random.default_rng().permutation(channels * 36)[:10])

def start_anew(channels, classes):
    net = Net(channels, classes)
    drawn = np.random.default_rng().normal(size=(classes, channels * 36))
    net.dense.weight.data = 0.1 * torch.from_numpy(drawn).float()
    return net

class Failing(Net):
    def forward(self, x):
        if self.training and self.norm.num_batches_tracked >= 3:
            raise RuntimeError("no more")
        return super().forward(x)

class InParts(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(channels * 36, classes), Late())
    def forward(self, x):
        return self.body(x)

class Late(nn.Module):
    def forward(self, x):
        if self.training:
            raise KeyError("late")
        return x

class InPlace(Net):
    def forward(self, x):
        return super().forward(x.mul_(0).add_(1))

class Counting(Net):
    def __init__(self, channels, classes):
        super().__init__(channels, classes)
        self.seen = Seen()
    def forward(self, x):
        self.seen.count += self.training
        return super().forward(x)

class Seen:
    count = 0

class Annealed(nn.Module):
    # keeps what changes where one would not look for it
    def __init__(self, channels, classes):
        super().__init__()
        self.dense = nn.Linear(channels * 36, classes)
        self.drop, self.act = nn.Dropout(0.5), nn.LeakyReLU(0.5)
        self.dice, self.by_name = [torch.Generator().manual_seed(0)], {"n": np.random.default_rng(1)}
        self.mean, self.heat, self.late = 0.0, 5, None
        self.register_buffer("shift", None)
        self.register_buffer("scale", None, persistent=False)
        self.bank = torch.zeros(0)
    seen = 0
    def forward(self, x):
        x = x.flatten(1)
        if self.training:
            self.seen += 1
            self.drop.p *= 0.9
            self.act.negative_slope *= 0.9
            self.heat = max(1, self.heat * 0.95)
            self.mean = 0.9 * self.mean + 0.1 * x.detach().numpy().mean()
            self.late = self.late or random.Random(3)
            self.shift = 0.1 * x.detach().mean(0)
            self.scale = self.heat + x.detach().std(0)
            self.bank = torch.cat([self.bank, x.detach().mean()[None]])
            x = x + torch.randn(x.shape, generator=self.dice[0])
            x = x + self.by_name["n"].random() + self.late.random()
        if self.shift is not None:
            x = (x - self.shift) / self.scale + self.bank.mean() + float(self.mean)
        return self.act(self.dense(self.drop(x)) * self.heat)

class Merging(nn.Linear):
    # as layers of LoRA do: a product of small matrices is a part of the weights in evaluation alone
    def __init__(self, channels, classes):
        super().__init__(channels * 36, classes)
        self.a, self.b = nn.Parameter(torch.ones(1, channels * 36)), nn.Parameter(torch.zeros(classes, 1))
        self.weight.requires_grad_(False)
        self.merged = False
    def train(self, mode=True):
        if mode == self.merged:
            self.weight.data += (-1 if mode else 1) * (self.b @ self.a).detach()
            self.merged = not mode
        return super().train(mode)
    def forward(self, x):
        y = super().forward(x.flatten(1))
        return y if self.merged else y + x.flatten(1) @ self.a.T @ self.b.T

def all_but_one_still(channels, classes):
    net = Net(channels, classes).eval()
    net.dense.train()
    return net

class Reaching(Net):
    def __init__(self, channels, classes):
        super().__init__(channels, classes)
        self.call = lambda x: self.dense(self.norm(x).flatten(1))
    def forward(self, x):
        return self.call(x)

def wired_behind_zeros(channels, classes):
    net = wired_anew(channels, classes)
    nn.init.zeros_(net.dense.weight)
    return net

class Locked(Net):
    def __init__(self, channels, classes):
        super().__init__(channels, classes)
        self.lock = threading.Lock()

class Alone(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.dense = nn.Linear(channels * 36, classes)
    def forward(self, x):
        return self.dense(x.flatten(1))
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nets")
    (folder / "nets_made.py").write_text(NETS)
    write_npz(folder / "data.npz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        yield folder


def train(here, out, *names, observer=None, stop=None, **settings):
    code = [f"nets_made:{name}" for name in names]
    tables = {
        "data": {"source": str(here / "data.npz")},
        "members": [{"name": name.lower(), "network": f"nets_made:{name}"} for name in names],
        "train": {"epochs": 2, "batch_size": 16, "threads": 1, "precision": "float32"} | settings,
    }
    return concord.train(tables, out, allow_code=code, observer=observer, stop=stop)


def weights(out, name):
    return load_file(steps(Path(out) / "ckpt")[-1] / f"member-{name}.safetensors")


def test_what_a_factory_froze_stays_as_it_was_and_the_rest_learns(here, tmp_path):
    train(here, tmp_path / "run", "frozen")
    found = weights(tmp_path / "run", "frozen")
    assert torch.equal(found["dense.weight"], torch.linspace(-1, 1, 108).view(3, 36))
    assert not torch.equal(found["norm.weight"], torch.ones(1))


def test_a_part_in_evaluation_mode_stays_in_it(here, tmp_path):
    with pytest.raises(StoppedError):
        train(here, tmp_path / "run", "still", stop=after(4))
    concord.resume(tmp_path / "run", allow_code=["nets_made:still"])
    found = weights(tmp_path / "run", "still")
    assert (found["norm.running_mean"].item(), found["norm.num_batches_tracked"].item()) == (0.0, 0)


def test_a_member_of_which_nothing_learns_is_refused(here, tmp_path):
    with pytest.raises(UsageError, match="all are frozen"):
        train(here, tmp_path / "run", "idle")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["Noisy", "Annealed", "Merging"])
def test_what_no_state_dict_holds_is_resumed_bit_for_bit(name, here, tmp_path):
    code, member = [f"nets_made:{name}"], name.lower()
    train(here, tmp_path / "whole", name)
    with pytest.raises(StoppedError):
        train(here, tmp_path / "half", name, stop=after(4))
    concord.resume(tmp_path / "half", allow_code=code)
    whole, half = weights(tmp_path / "whole", member), weights(tmp_path / "half", member)
    assert all(torch.equal(whole[key], half[key]) for key in whole)
    result = json.loads((tmp_path / "half" / "result.json").read_text())
    (tmp_path / "half" / "predictions.safetensors").unlink()
    again = concord.evaluate(tmp_path / "half", allow_code=code)
    assert again.members[member].nll == pytest.approx(result["members"][member]["nll"], rel=1e-6)


def test_layers_that_do_more_than_set_a_flag_in_train_learn(here, tmp_path):
    train(here, tmp_path / "run", "Merging")
    assert weights(tmp_path / "run", "merging")["b"].abs().max() > 0


def test_a_network_in_evaluation_mode_but_for_one_part_stays_so(here, tmp_path):
    train(here, tmp_path / "run", "all_but_one_still")
    assert weights(tmp_path / "run", "all_but_one_still")["norm.num_batches_tracked"].item() == 0


def test_the_trial_changes_nothing_of_a_member_that_a_copy_still_reaches(here, tmp_path):
    train(here, tmp_path / "run", "Reaching", epochs=1)
    updates = weights(tmp_path / "run", "reaching")["norm.num_batches_tracked"].item()
    assert updates == 4  # of 54 images in batches of 16


@pytest.mark.parametrize("name", ["wired", "wired_python"])
def test_wiring_that_is_drawn_comes_from_the_seed(name, here, tmp_path):
    one, two = (train(here, tmp_path / f"{i}", name).result for i in (1, 2))
    assert one.members[name].nll == two.members[name].nll
    (tmp_path / "1" / "predictions.safetensors").unlink()
    again = concord.evaluate(tmp_path / "1", allow_code=[f"nets_made:{name}"])
    assert again.members[name].nll == one.members[name].nll


@pytest.mark.parametrize("name", ["wired_anew", "wired_behind_zeros"])
def test_wiring_that_no_seed_repeats_is_refused_before_the_first_update(name, here, tmp_path):
    with pytest.raises(UsageError, match=rf"'{name}'.*built twice.*answer differently"):
        train(here, tmp_path / "run", name)
    assert not (tmp_path / "run").exists()


def test_a_start_that_no_seed_repeats_is_said(here, tmp_path):
    noted = Noted()
    train(here, tmp_path / "run", "start_anew", observer=noted, epochs=1)
    assert any("'start_anew'" in text and "train.seed does not repeat" in text for text in noted.notices)


def test_a_member_that_works_in_place_changes_nothing_for_those_behind_it(here, tmp_path):
    alone = train(here, tmp_path / "alone", "Alone").result
    for order in (("InPlace", "Alone"), ("Alone", "InPlace")):
        out = tmp_path / order[0]
        result = train(here, out, *order).result
        assert result.members["alone"].nll == alone.members["alone"].nll
        one, two = weights(out, "alone"), weights(tmp_path / "alone", "alone")
        assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "InParts",
            r"'inparts' failed when it was tried in training mode, in layer 'body.2' \(Late\): KeyError",
        ),
        ("Failing", r"'failing' failed at update 3, in training: RuntimeError: no more"),
    ],
)
def test_what_fails_while_it_trains_is_one_message_with_member_moment_and_layer(name, words, here, tmp_path):
    with pytest.raises(UsageError, match=words):
        train(here, tmp_path / "run", name)


def test_what_changes_and_cannot_be_kept_is_said(here, tmp_path):
    noted = Noted()
    train(here, tmp_path / "run", "Counting", observer=noted)
    assert [text for text in noted.notices if "seen (Seen) changes" in text]


def test_a_member_that_cannot_be_copied_is_trained_counted_and_evaluated(here, tmp_path):
    result = train(here, tmp_path / "run", "Locked").result
    assert (result.members["locked"].parameters, result.members["locked"].macs) == (2 + 111, 108)
    assert concord.evaluate(tmp_path / "run", allow_code=["nets_made:Locked"]).samples == 15


class Auxiliary(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return (self.one(x), self.two(x)) if self.training else self.one(x)


class Remembering(nn.Linear):
    def __init__(self):
        super().__init__(4, 3)
        self.passes = 0

    def forward(self, x):
        self.passes += self.training
        return super().forward(x)


def test_modules_given_in_python_are_tried_in_training_mode_before_a_folder_is_made(tmp_path):
    data = (torch.randn(30, 4), torch.arange(30) % 3)
    with pytest.raises(UsageError, match=r"'a'.*training mode \(a tuple\) does not fit the task Classify"):
        concord.Ensemble({"a": Auxiliary()}).fit(data, epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_saved_ensemble_holds_what_changed_beside_the_weights(tmp_path):
    member = Remembering()
    ensemble = concord.Ensemble({"a": member})
    ensemble.fit((torch.randn(30, 4), torch.arange(30) % 3), valid=None, epochs=2, batch_size=10)
    assert member.passes == 6  # the trial before the training is not one of them
    ensemble.save(tmp_path / "own")
    again = concord.load(tmp_path / "own", members={"a": Remembering()})
    assert again["a"].passes == 6


def test_a_loader_whose_last_batch_has_one_sample_is_explained(tmp_path):
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    loader = torch.utils.data.DataLoader(
        TensorDataset(torch.randn(21, 4), torch.arange(21) % 3), batch_size=10
    )
    with pytest.raises(UsageError, match=r"'a' failed at update 2, in training, in layer '1' .*batch of one"):
        concord.Ensemble({"a": net}).fit(loader, epochs=1)
