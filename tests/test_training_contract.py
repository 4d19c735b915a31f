"""What modules ask of their training: a call after each update, and parameters that do not decay."""

import copy

import pytest
import torch
from binary_made import MIDDLES, latent, small
from run_made import after, make_job, outcome, settings
from torch import nn
from training_made import member, optimizer_for, run, same, shared_batches, state, together, train_alone

import concord
from concord.errors import StoppedError, UsageError
from concord.layers.binary.convolution import XNORConv2d
from concord.training.batch import Batch
from concord.training.fit import fit
from concord.training.loop import Rule, train
from concord.training.observer import Silent
from concord.training.optim import Adam, Sgd, groups_of

STEPS = 3


class Noting(nn.Sequential):
    """Notes when it is called, and with which weights of the member beside it."""

    def __init__(self, name, seed, log):
        super().__init__(member(seed, width=2 + seed))
        self.name, self.log = name, log

    def forward(self, x):
        self.log.append(("forward", self.name))
        return super().forward(x)

    def after_update(self):
        assert not torch.is_grad_enabled()
        self.log.append(("after", self.name))


def noting(**options):
    log = []
    members = [Noting("a", 0, log), Noting("b", 1, log)]
    run(members, shared_batches(2), **options)
    return log


def test_each_member_is_called_once_after_an_update_of_all():
    update = [("forward", "a"), ("forward", "b"), ("after", "a"), ("after", "b")]
    assert noting(weight=0.0) == 2 * update


def test_parts_of_a_batch_make_one_update():
    log = noting(weight=0.0, most=3)
    assert log == 2 * (2 * [("forward", "a"), ("forward", "b")] + [("after", "a"), ("after", "b")])


def test_in_turn_each_member_is_called_after_its_own_update():
    update = [("forward", "a"), ("after", "a"), ("forward", "b"), ("after", "b")]
    assert noting(weight=0.0, alternating=True) == 2 * update


def test_the_rule_comes_after_the_modules():
    log = []
    members = [Noting("a", 0, log)]
    rule = Rule(after=lambda index: log.append(("rule", index)))
    cohort = together(members)
    list(train(cohort, shared_batches(1), optimizer_for(members), rule=rule))
    assert log == [("forward", "a"), ("after", "a"), ("rule", 0)]


def test_a_teacher_is_left_alone():
    log = []
    members = [Noting("a", 0, log), Noting("b", 1, log).requires_grad_(False)]
    run(members, shared_batches(1), optimizer_for(members[:1]))
    assert ("after", "a") in log
    assert ("after", "b") not in log


def test_what_a_module_raises_names_the_member_and_the_module():
    class Broken(nn.Identity):
        def after_update(self):
            raise ValueError("out of order")

    members = [member(0), nn.Sequential(member(1), Broken())]
    match = r"member 'member 1' failed in after_update, at update 0, in layer '1' \(Broken\): .*out of order"
    with pytest.raises(UsageError, match=match):
        run(members, shared_batches(1))


# Binary members in the loop


def batches(count):
    made = []
    for step in range(count):
        draw = torch.Generator().manual_seed(step)
        x, y = torch.randn(8, 1, 6, 6, generator=draw), torch.randint(3, (8,), generator=draw)
        made.append(Batch((x,), (y,)))
    return made


@pytest.mark.parametrize("options", [{}, {"alternating": True}, {"most": 4}, {"stacks": [[0, 1]]}], ids=str)
@pytest.mark.parametrize("middle", MIDDLES)
def test_latent_weights_stay_within_one_at_a_huge_learning_rate(middle, options):
    if middle == "drawn" and "stacks" in options:
        pytest.skip("members that draw are not computed in one pass")
    members = [small(seed, MIDDLES[middle]) for seed in range(2)]
    optimizer = optimizer_for(members, lr=50.0)
    for batch in batches(STEPS):
        run(members, [batch], optimizer, weight=0.0, **options)
        for weight in (w for one in members for w in latent(one)):
            assert weight.abs().max() == 1
    assert max(p.abs().max() for p in members[0].parameters()) > 5  # others are not clipped


@pytest.mark.parametrize("middle", [m for m in MIDDLES if m != "drawn"])
def test_stacked_binary_members_train_as_with_a_pass_for_each(middle):
    ours, theirs = ([small(seed, MIDDLES[middle]).double() for seed in range(2)] for _ in range(2))
    given = [b._replace(inputs=(b.inputs[0].double(),)) for b in batches(STEPS)]
    run(ours, given, optimizer_for(ours), stacks=[[0, 1]])
    run(theirs, given, optimizer_for(theirs))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(state(one), state(other), rtol=1e-9, atol=1e-12)


def test_a_run_of_members_that_draw_in_one_pass_is_refused(tmp_path, monkeypatch):
    code = (
        "from torch import nn\nfrom concord.layers.binary.dense import BinaryConnectLinear\n"
        "def make(channels, classes):\n"
        "    return nn.Sequential(nn.Flatten(), BinaryConnectLinear(64, classes, stochastic=True))\n"
    )
    (tmp_path / "drawing.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    members = [{"name": name, "network": "drawing:make"} for name in ("a", "b")]
    tables = {
        "members": members,
        "data": {"limit": 128, "size": 8},
        "train": {"epochs": 1, "device": "cpu", "precision": "float32", "stacked": True},
    }
    with pytest.raises(UsageError, match="a, b cannot be computed in one pass: they draw random numbers"):
        concord.train(tables, tmp_path / "run", allow_code=["drawing:make"])


# Runs


@pytest.mark.parametrize("optimizer", [Sgd(lr=100.0), Adam(lr=1000.0)], ids=["sgd", "adam"])
def test_latent_weights_stay_within_one_in_an_ensemble(optimizer):
    x, y = batches(1)[0].of(0)
    members = {name: small(seed, MIDDLES[name]) for seed, name in enumerate(MIDDLES)}
    seen = []

    class Watch(Silent):
        def update(self, step):
            seen.append(max(w.detach().abs().max().item() for one in members.values() for w in latent(one)))

    concord.Ensemble(members, weight=0.0).fit(
        (x, y), valid=None, epochs=2, batch_size=4, optimizer=optimizer, clip=1.0, observer=Watch()
    )
    assert seen == [1.0] * 4


def binary_members(start):
    return {f"m{i}": small(start + i, MIDDLES[name]) for i, name in enumerate(("drawn", "xnor"))}


def trained(path, start=0, *, stop=lambda: False):
    tables = settings(2, train__optimizer={"kind": "sgd", "lr": 0.05, "momentum": 0.9})
    return list(fit(make_job(path, tables, members=binary_members(start), stop=stop)))


def test_a_run_stopped_in_mid_epoch_resumes_bit_for_bit_drawn_signs_included(tmp_path):
    trained(tmp_path / "whole")
    for part, polls in enumerate((4, 4, 4)):  # six updates in an epoch
        torch.manual_seed(part)
        with pytest.raises(StoppedError, match=r"stopped after (4|7|11) updates"):
            trained(tmp_path / "cut", 10 * part, stop=after(polls))
    trained(tmp_path / "cut", 99)
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


# Weight decay


def one_step(optimizer, one):
    before = {name: p.detach().clone() for name, p in one.named_parameters()}
    for parameter in one.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return {name for name, p in one.named_parameters() if not torch.equal(p.detach(), before[name])}


@pytest.mark.parametrize("kind", [Sgd, Adam])
def test_latent_weights_do_not_decay_unless_all_is_asked_for(kind):
    one = small(0, XNORConv2d)
    assert one_step(kind(weight_decay=0.1)({"a": one}), one) == {"0.weight", "5.weight"}
    everything = {name for name, p in one.named_parameters() if p.any()}
    assert one_step(kind(weight_decay=0.1, decay="all")({"a": one}), one) == everything
    assert "2.weight" in everything


def test_groups_hold_every_parameter_once():
    one = small(0, XNORConv2d)
    for decay in ("kernels", "all"):
        groups = groups_of({"a": one}, 0.1, decay)
        held = [id(p) for group in groups for p in group["params"]]
        assert sorted(held) == sorted(id(p) for p in one.parameters())


def test_names_that_are_not_a_tuple_are_refused():
    class Wrong(nn.Linear):
        undecayed = "weight"

    with pytest.raises(UsageError, match="undecayed of Wrong is a tuple of names of its parameters"):
        Sgd()({"a": nn.Sequential(Wrong(2, 2))})


def test_members_without_binary_layers_train_as_in_plain_torch():
    one, other = member(0), copy.deepcopy(member(0))
    run([one], shared_batches(STEPS), optimizer_for([one]))
    train_alone(other, [b.of(0) for b in shared_batches(STEPS)], optimizer_for([other]))
    assert same(state(one), state(other))
