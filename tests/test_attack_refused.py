"""A network that refuses its gradient is one message with its name and the reason, in every attack."""

import pytest
import torch
from attack_made import images_and_labels
from run_made import call
from torch.utils.checkpoint import checkpoint

import concord
from concord.attack.fgsm import fgsm
from concord.attack.gradient import BackwardError, away, gradient, stuck
from concord.attack.norms import NORMS
from concord.attack.pgd import pgd
from concord.errors import UsageError


class Refusing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise ValueError("no way back")


def overwritten(x):
    y = x.exp()
    z = y * 1
    y.add_(1)  # what exp keeps for its backward pass
    return z


# what a network does with its input, and what the message must hold
REFUSED = {
    "reentrant checkpoint": (lambda x: checkpoint(torch.tanh, x, use_reentrant=True), "use_reentrant=False"),
    "function of its own": (Refusing.apply, "ValueError: no way back"),
    "written over": (overwritten, "modified by an inplace operation"),
}
ATTACKS = {
    "fgsm": lambda loss, x: fgsm(loss, x, 0.1),
    "pgd": lambda loss, x: pgd(loss, x, 0.1, steps=2, step_size=0.1),
    "pgd in l2": lambda loss, x: pgd(loss, x, 0.1, steps=2, step_size=0.1, norm=NORMS["l2"]),
    "gradient": gradient,
    "stuck": stuck,
}
WITHOUT = {
    "detached": lambda x: x.detach(),
    "through numpy": lambda x: torch.from_numpy(x.detach().numpy()),
    "whole numbers": lambda x: (100 * x).long(),
    "constant": torch.zeros_like,
}


def loss_of(function):
    def logits(x):
        return function(x).flatten(1)[:, :3]

    return away(logits, images_and_labels(4)[1])


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.parametrize(("function", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_backward_pass_that_is_refused_is_one_error_with_the_reason(function, reason, attack):
    images, _ = images_and_labels(4)
    with pytest.raises(BackwardError, match=reason):
        attack(loss_of(function), images)


def test_the_end_of_memory_stays_what_it_is():
    class Full(Refusing):
        @staticmethod
        def backward(ctx, gradient):
            raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError):
        gradient(loss_of(Full.apply), images_and_labels(4)[0])


@pytest.mark.parametrize("function", WITHOUT.values(), ids=WITHOUT.keys())
def test_without_any_path_to_the_images_they_stay_and_are_stuck(function):
    images, _ = images_and_labels(4)
    assert stuck(loss_of(function), images).all()
    for attack in (ATTACKS["fgsm"], ATTACKS["pgd"], ATTACKS["pgd in l2"]):
        assert torch.equal(attack(loss_of(function), images), images)


# --- runs ------------------------------------------------------------------------------------

NETWORKS = """
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

class Refusing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise ValueError("no way back")

class Own(nn.Module):
    def __init__(self, channels, classes, before):
        super().__init__()
        self.out, self.before = nn.Linear(channels * 64, classes), before
    def forward(self, x):
        return self.out(self.before(self, x).flatten(1))

def with_checkpoint(net, x): return checkpoint(torch.tanh, x, use_reentrant=True)
def refused(net, x): return Refusing.apply(x)
def with_numpy(net, x): return torch.from_numpy(x.numpy())
def detached(net, x): return x.detach()
def reentrant(channels, classes): return Own(channels, classes, with_checkpoint)
def function(channels, classes): return Own(channels, classes, refused)
def numbers(channels, classes): return Own(channels, classes, with_numpy)
def cut(channels, classes): return Own(channels, classes, detached)
"""
# network, and what the message holds
MEMBERS = {
    "reentrant": ("'odd' cannot be attacked by gradient: its backward pass failed", "use_reentrant=False"),
    "function": ("'odd' cannot be attacked by gradient: its backward pass failed", "no way back"),
    "numbers": ("member 'odd' failed under attack", "numpy() on Tensor that requires grad"),
}
METHODS = [["fgsm"], ["pgd", "--steps", "2"], ["pgd", "--steps", "2", "--norm", "l2", "--target", "3"]]
PLAIN = {"name": "plain", "network": "noel2017_text_st(filters=3)"}


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_refused.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    def tables(name, **more):
        members = [PLAIN, {"name": "odd", "network": f"own_refused:{name}"}]
        train = {"epochs": 1, "threads": 1}
        return {"members": members, "data": {"limit": 100}, "train": train, **more}, [f"own_refused:{name}"]

    return tables


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
@pytest.mark.parametrize("name", MEMBERS)
def test_an_attack_on_such_a_member_is_one_message_in_every_method(name, own, capsys):
    tables, code = own(name)
    concord.train(tables, "run", allow_code=code)
    for method in METHODS:
        options = ["run", "--limit", "20", "--allow-code", *code, "--method", *method]
        status, _, err = call(capsys, "attack", *options)
        assert status == 2
        assert "Traceback" not in err
        assert all(part in err.splitlines()[-1] for part in MEMBERS[name])
    with pytest.raises(UsageError, match="odd"):
        concord.attack_runs("run", limit=20, allow_code=code)
    figures = concord.attack_runs("run", limit=20, allow_code=code, member="plain")
    assert list(figures["networks"]) == ["plain"]


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
@pytest.mark.parametrize("name", MEMBERS)
def test_training_with_an_adversary_names_such_a_member(name, own):
    tables, code = own(name, adversarial={"eps": 0.1})
    with pytest.raises(UsageError, match="'odd'"):
        concord.train(tables, "run", allow_code=code)


def test_a_member_without_any_gradient_is_said_to_be_no_sign_of_robustness(own, capsys):
    tables, code = own("cut")
    concord.train(tables, "run", allow_code=code)
    status, out, err = call(capsys, "attack", "run", "--allow-code", *code, "--limit", "20")
    assert status == 0
    assert "odd: the gradient of 100.0 % of the images is zero" in out + err
    assert "this does not show robustness" in out + err
