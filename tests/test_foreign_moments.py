"""What an optimiser of a user's own remembers is checked against what it makes itself."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from trust_made import run, sealed, unfinished

import concord
from concord.errors import CheckpointError, StoppedError
from concord.training import checkpoint
from concord.training.moments import check_like, check_moments, packed
from concord.training.state import pack_optimizer, unpack_optimizer

KINDS = {
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "Adadelta": lambda p: torch.optim.Adadelta(p),
    "Adamax": lambda p: torch.optim.Adamax(p, lr=0.01),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.01),
    "RAdam": lambda p: torch.optim.RAdam(p, lr=0.01),
    "ASGD": lambda p: torch.optim.ASGD(p, lr=0.01),
    "Rprop": lambda p: torch.optim.Rprop(p, lr=0.01),
    "Adafactor": lambda p: torch.optim.Adafactor(p, lr=0.01),
    "amsgrad": lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "Counted": lambda p: Counted(p),
}


class Counted(torch.optim.Optimizer):
    """As third parties write them: a count that is a number of Python, and settings beside the groups."""

    def __init__(self, parameters):
        super().__init__(parameters, {"lr": 0.01})
        self.decay = 0.9

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state[p]
                    if not state:
                        state["count"], state["mean"] = 0, torch.zeros_like(p)
                    state["count"] += 1
                    state["mean"].mul_(self.decay).add_(p.grad)
                    p.sub_(group["lr"] / math.sqrt(state["count"]) * state["mean"])


def trained(kind, updates=3):
    """A network, its optimiser after some updates, and what would be saved of it."""
    torch.manual_seed(0)
    members = {"m": nn.Linear(3, 2)}
    optimizer = KINDS[kind](list(members["m"].parameters()))
    for _ in range(updates):
        optimizer.zero_grad()
        members["m"](torch.randn(5, 3)).square().sum().backward()
        optimizer.step()
    return members, optimizer, pack_optimizer(optimizer, members)


def fresh(kind):
    torch.manual_seed(1)
    members = {"m": nn.Linear(3, 2)}
    return members, KINDS[kind](list(members["m"].parameters()))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_saved_fits_and_trains_on_as_before(kind):
    members, optimizer, tensors = trained(kind)
    again, other = fresh(kind)
    check_like(other, again, tensors, "here", [])
    again["m"].load_state_dict(members["m"].state_dict())
    unpack_optimizer(other, again, tensors)
    x = torch.randn(5, 3)
    for nets, one in ((members, optimizer), (again, other)):
        one.zero_grad()
        nets["m"](x).square().sum().backward()
        one.step()
    assert torch.equal(members["m"].weight, again["m"].weight)


@pytest.mark.parametrize("kind", KINDS)
def test_every_moment_that_is_missing_or_strange_is_noticed(kind):
    _, _, tensors = trained(kind)
    members, optimizer = fresh(kind)
    assert len(tensors) >= 2
    for path in tensors:
        lacking = {name: t for name, t in tensors.items() if name != path}
        owner = path.rpartition("/")[0]
        with pytest.raises(CheckpointError, match=f"{owner} lacks"):
            check_like(optimizer, members, lacking, "here", [])
        for change in (lambda t: t.unsqueeze(0), lambda t: t.to(torch.complex64)):
            if "number" in path and change(tensors[path]).ndim == 0:
                continue  # any number can be read as one
            with pytest.raises(CheckpointError, match=r"expected|numbers"):
                check_like(optimizer, members, {**tensors, path: change(tensors[path])}, "here", [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_parameter_of_which_nothing_is_remembered_has_to_be_known_for_it(kind):
    _, _, tensors = trained(kind)
    members, optimizer = fresh(kind)
    nothing = {name: t for name, t in tensors.items() if not name.startswith("m/bias/")}
    check_like(optimizer, members, nothing, "here", ["m/bias"])
    check_like(optimizer, members, nothing, "here", None)
    with pytest.raises(CheckpointError, match="m/bias lacks"):
        check_like(optimizer, members, nothing, "here", [])


@pytest.mark.parametrize("count", [-1.0, 0.5, float("nan"), float("inf")])
def test_a_count_of_updates_is_whole_and_not_negative(count):
    _, _, tensors = trained("RMSprop")
    members, optimizer = fresh("RMSprop")
    with pytest.raises(CheckpointError, match="m/weight/step"):
        check_like(optimizer, members, {**tensors, "m/weight/step": torch.tensor(count)}, "here", [])


def test_means_of_squares_are_not_negative_and_everything_is_finite():
    _, _, tensors = trained("RMSprop")
    members, optimizer = fresh("RMSprop")
    for key, value in (("square_avg", -1.0), ("grad_avg", float("nan"))):
        other = torch.full((2, 3), value)
        with pytest.raises(CheckpointError, match=f"m/weight/{key} holds numbers that no training gives"):
            check_like(optimizer, members, {**tensors, f"m/weight/{key}": other}, "here", [])


def test_only_an_optimiser_of_torch_is_known_to_remember_nothing_else():
    for kind, refused in (("RMSprop", True), ("Counted", False)):
        _, _, tensors = trained(kind)
        members, optimizer = fresh(kind)
        more = {**tensors, "m/weight/later": torch.zeros(7)}
        if refused:
            with pytest.raises(CheckpointError, match="m/weight/later is nothing that RMSprop remembers"):
                check_like(optimizer, members, more, "here", [])
        else:
            check_like(optimizer, members, more, "here", [])


def test_the_trial_step_leaves_the_optimiser_as_it_was():
    members, optimizer, _ = trained("Counted")
    torch.optim.lr_scheduler.StepLR(optimizer, 1)  # which puts a step of its own over the optimiser's
    before = {name: p.clone() for name, p in members["m"].named_parameters()}
    kept = pack_optimizer(optimizer, members)
    kept = {name: t.clone() for name, t in kept.items()}
    check_like(optimizer, members, kept, "here", [])
    assert all(torch.equal(before[name], p) for name, p in members["m"].named_parameters())
    after = pack_optimizer(optimizer, members)
    assert all(torch.equal(kept[name], after[name]) for name in kept)


def test_numbers_of_python_are_packed_as_what_they_are():
    found = packed({"a": 3, "b": 0.5, "c": True, "d": "text", "e": None, "f": torch.zeros(2)})
    assert {name: t.tolist() for name, t in found.items()} == {
        "a (number)": 3,
        "b (number)": 0.5,
        "c (number)": True,
        "f": [0, 0],
    }


# The updates that Adam counts


def test_adam_counts_no_more_updates_than_were_made():
    members = {"m": nn.Linear(3, 2)}
    adam = torch.optim.Adam(members["m"].parameters())
    members["m"](torch.randn(5, 3)).sum().backward()
    for _ in range(4):
        adam.step()
    tensors = pack_optimizer(adam, members)
    check_moments(members, tensors, "adam", "here", [], 4)
    check_moments(members, tensors, "adam", "here", [], None)
    with pytest.raises(CheckpointError, match=r"step is 4\.0, expected .* at most the 3 that were made"):
        check_moments(members, tensors, "adam", "here", [], 3)


def test_a_checkpoint_whose_moments_count_more_updates_than_its_position_is_refused(tmp_path):
    path = unfinished(tmp_path)
    step = checkpoint.steps(path / "ckpt")[-1]
    most = checkpoint.number_of(step)
    file = step / "optimizer.safetensors"
    tensors = load_file(file)
    assert {t.item() for name, t in tensors.items() if name.endswith("/step")} == {float(most)}
    save_file({**tensors, "a/head.bias/step": torch.tensor(most + 1.0)}, file)
    sealed(path)
    status, _, err = run("resume", path, "--quiet", "--strict")
    assert (status, f"at most the {most} that were made" in err) == (4, True)


def test_changed_settings_that_begin_an_epoch_again_do_not_forget_the_updates(tmp_path):
    """Twice as large batches: the position counts half the updates that the moments have seen."""
    path = unfinished(tmp_path)
    larger = ["--set", "train.batch_size=32", "--set", "train.epochs=4", "--allow-changes"]
    polls = iter(range(100))
    with pytest.raises(StoppedError):
        concord.resume(path, settings=larger[1::2], allow_changes=True, stop=lambda: next(polls) > 0)
    found = checkpoint.load(checkpoint.steps(path / "ckpt")[-1])
    counted = {t.item() for name, t in found.tensors["optimizer"].items() if name.endswith("/step")}
    assert max(counted) == checkpoint.number_of(found.path) + found.state["position"]["earlier"]
    assert found.state["position"]["earlier"] > 0
    assert run("resume", path, "--quiet")[0] == 0


# Through the doors of Python


def ensemble():
    torch.manual_seed(0)
    return concord.Ensemble({"m": nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))})


def fit(one, kind, path, data, stop=lambda: False):
    optimizer = KINDS[kind]([*one["m"].parameters()])
    return one.fit(data, epochs=3, batch_size=20, optimizer=optimizer, out=path, stop=stop)


@pytest.mark.parametrize("kind", ["RMSprop", "Adagrad", "Counted"])
def test_a_stopped_training_with_any_optimiser_resumes_exactly_or_says_what_is_missing(kind, tmp_path):
    generator = torch.Generator().manual_seed(3)
    data = (torch.randn(60, 4, generator=generator), torch.arange(60) % 3)
    whole, stopped = ensemble(), ensemble()
    fit(whole, kind, None, data)
    polls = iter(range(100))
    with pytest.raises(StoppedError):
        fit(stopped, kind, tmp_path / "run", data, lambda: next(polls) > 3)
    again = ensemble()
    fit(again, kind, tmp_path / "run", data)
    for name, parameter in whole["m"].named_parameters():
        assert torch.equal(parameter, again["m"].get_parameter(name)), name

    polls, other = iter(range(100)), tmp_path / "other"
    with pytest.raises(StoppedError):
        fit(ensemble(), kind, other, data, lambda: next(polls) > 3)
    file = checkpoint.steps(other / "ckpt")[-1] / "optimizer.safetensors"
    tensors = load_file(file)
    name = sorted(tensors)[0]
    save_file({key: value for key, value in tensors.items() if key != name}, file)
    sealed(other)
    with pytest.raises(CheckpointError, match="lacks"):
        fit(ensemble(), kind, other, data)
