"""Muon: the iteration against singular value decomposition, steps against torch's, which weights, resume."""

import copy

import pytest
import torch
from binary_made import small
from run_made import CLASSES, make_job, outcome, settings, train
from torch import nn

import concord
from concord.errors import StoppedError, UsageError
from concord.layers.binary.convolution import XNORConv2d
from concord.runs.folder import RunFolder
from concord.training.fit import Training
from concord.training.moments import check_like
from concord.training.muon import COEFFICIENTS, Muon, hidden_matrices, orthogonalised
from concord.training.optim import learning_rate, set_rate
from concord.training.state import pack_optimizer

MUON = {"kind": "muon", "lr": 0.05, "adam_lr": 0.01, "momentum": 0.9, "weight_decay": 0.1}


def deep(seed):
    """Two convolutions between a first layer and a head, with batch normalisation, for 6x6 grey images."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 6, 3, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24, 5),
            nn.Dropout(0.2),
            nn.Linear(5, len(CLASSES)),
        ).to(memory_format=torch.channels_last)


def polynomial(s):
    a, b, c = COEFFICIENTS
    return a * s + b * s**3 + c * s**5


# The iteration


def test_one_step_on_a_vector_by_hand():
    # (3, 4) / 5, whose only singular value is 1: p(1) = 3.4445 - 4.7750 + 2.0315 = 0.701
    found = orthogonalised(torch.tensor([[3.0], [4.0]]), steps=1)
    assert found.flatten().tolist() == pytest.approx([0.701 * 0.6, 0.701 * 0.8])


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (8, 4)])
def test_singular_vectors_stay_and_singular_values_go_through_the_polynomial(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    s = s / matrix.norm()
    for _ in range(5):
        s = polynomial(s)
    torch.testing.assert_close(orthogonalised(matrix), u @ s.diag() @ vh, rtol=1e-9, atol=1e-9)


def test_five_steps_bring_singular_values_from_a_hundredth_to_one_near_one():
    values = torch.linspace(0.01, 1, 991, dtype=torch.float64)
    for _ in range(5):
        values = polynomial(values)
    assert values.min() > 0.67
    assert values.max() < 1.21


def test_an_orthogonal_matrix_keeps_its_directions_and_zeros_stay():
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)))[0]
    found = orthogonalised(100 * turn)
    torch.testing.assert_close(found / found.norm() * 6**0.5, turn, rtol=1e-3, atol=1e-4)
    assert not orthogonalised(torch.zeros(3, 2)).any()


# The step


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("shape", [(3, 7), (8, 4)])
def test_steps_are_those_of_torch_but_for_its_bfloat16(shape, nesterov):
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(2, 2), nn.Linear(shape[1], shape[0]), nn.Linear(2, 2))
    theirs = copy.deepcopy(ours)
    options = {"lr": 0.05, "momentum": 0.8, "nesterov": nesterov, "weight_decay": 0.3}
    optimizer = Muon(**options, adam_lr=0.01)({"a": ours})
    hidden = torch.optim.Muon([theirs[1].weight], **options)
    rest = [(name, p) for name, p in theirs.named_parameters() if name != "1.weight"]
    decays = [{"params": [p], "weight_decay": 0.3 if p.ndim == 2 else 0.0} for _, p in rest]
    adam = torch.optim.AdamW(decays, lr=0.01)
    before = ours[1].weight.detach().clone()
    for step in range(3):
        for one in (ours, theirs):
            generator = torch.Generator().manual_seed(step)
            for p in one.parameters():
                p.grad = torch.randn(p.shape, generator=generator)
        for one in (optimizer, hidden, adam):
            one.step()
    moved = (ours[1].weight - before).norm()
    assert (ours[1].weight - theirs[1].weight).norm() < 0.05 * moved
    for name, p in rest:
        torch.testing.assert_close(ours.get_parameter(name), p, rtol=1e-6, atol=1e-7)


def test_a_convolution_moves_as_the_matrix_of_its_filters():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3), nn.Linear(2, 2))
    net = net.to(memory_format=torch.channels_last)
    optimizer = Muon(lr=0.5, momentum=0.0, weight_decay=0.0)({"a": net})
    weight, before = net[1].weight, net[1].weight.detach().clone()
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    moved = (before - weight.detach()).reshape(6, 36)
    torch.testing.assert_close(moved, 0.5 * orthogonalised(weight.grad.reshape(6, 36)), rtol=1e-4, atol=1e-6)


def test_a_parameter_without_gradient_stays_and_a_closure_is_called():
    net = deep(0)
    optimizer = Muon()({"a": net})
    net[3].weight.grad = torch.ones_like(net[3].weight)
    before = [p.detach().clone() for p in net.parameters()]
    assert optimizer.step(lambda: 7) == 7
    moved = [
        name for (name, p), old in zip(net.named_parameters(), before, strict=True) if not torch.equal(p, old)
    ]
    assert moved == ["3.weight"]
    assert len(optimizer.param_groups) == 3


# Which weights


def test_hidden_matrices_are_those_between_the_first_and_the_last_layer():
    net = deep(0)
    assert [id(p) for p in hidden_matrices(net)] == [id(net[3].weight), id(net[7].weight)]


def test_embeddings_normalisation_biases_and_latent_weights_are_not_hidden_matrices():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.words, self.norm = nn.Linear(2, 3), nn.Embedding(5, 3), nn.LayerNorm((3, 4))
            self.position_bias, self.middle = nn.Parameter(torch.zeros(3, 3)), nn.GRUCell(3, 4)
            self.binary, self.head = XNORConv2d(2, 2, 3), nn.Linear(4, 2)

    net = Odd()
    names = {id(p): name for name, p in net.named_parameters()}
    assert [names[id(p)] for p in hidden_matrices(net)] == ["middle.weight_ih", "middle.weight_hh"]
    assert hidden_matrices(small(0, XNORConv2d)) == []


def test_every_parameter_is_in_one_group_and_decays_as_asked():
    members = {"a": deep(0), "b": nn.Sequential(nn.Linear(36, 3))}
    optimizer = Muon(weight_decay=0.1)(members)
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for one in members.values() for p in one.parameters())
    kinds = [(g["member"], g["orthogonal"], g["weight_decay"]) for g in optimizer.param_groups]
    assert kinds == [("a", True, 0.1), ("a", False, 0.1), ("a", False, 0), ("b", False, 0.1), ("b", False, 0)]


def test_members_without_a_hidden_matrix_are_refused():
    match = "these members have none: a, b. Choose another optimizer, such as AdamW"
    with pytest.raises(UsageError, match=match):
        Muon()({"a": nn.Linear(2, 2), "b": nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))})


# A training


def test_both_rates_follow_the_schedule():
    optimizer = Muon(lr=0.4, adam_lr=0.1)({"a": deep(0)})
    rate = learning_rate(0.4, "cosine", epochs=2, steps=2)
    set_rate(optimizer, rate(2))
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.2, 0.05, 0.05])


def members(start):
    return {f"m{i}": deep(start + i) for i in range(2)}


@pytest.mark.parametrize("changes", [{}, {"train__update": "alternating", "train__ema": 0.9}], ids=str)
def test_a_run_stopped_again_and_again_ends_bit_for_bit_as_if_it_had_not_been(tmp_path, changes):
    tables = settings(train__optimizer=MUON, train__schedule="cosine", train__warmup=0.2, **changes)
    train(tmp_path / "whole", tables, members=members(0))
    parts = 0
    from run_made import after

    while True:
        try:
            train(tmp_path / "cut", tables, members=members(5 * parts), stop=after(4))
            break
        except StoppedError:
            parts += 1
    assert parts >= 4
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


def test_one_optimiser_for_all_members_is_one_for_each_bit_for_bit(tmp_path):
    tables = settings(train__optimizer=MUON, consensus={})
    job = make_job(tmp_path / "both", tables, members=members(0))
    both = Training(job)
    list(both.run())
    for name, one in members(0).items():
        alone = settings(1, train__optimizer=MUON, consensus={})
        alone["members"][0]["name"] = name
        single = make_job(tmp_path / name, alone, members={name: one})
        list(Training(single).run())
        for mine, theirs in zip(
            one.state_dict().values(), job.members[name].state_dict().values(), strict=True
        ):
            assert torch.equal(mine, theirs)


@pytest.mark.parametrize("damage", ["shape", "lacking", "strange", "negative"])
def test_moments_that_do_not_fit_are_refused(damage):
    nets = {"a": deep(0)}
    optimizer = Muon()(nets)
    for p in nets["a"].parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    tensors = pack_optimizer(optimizer, nets)
    check_like(Muon()(nets), nets, tensors, "here", [])
    if damage == "shape":
        tensors["a/3.weight/momentum_buffer"] = torch.zeros(6, 36)
    if damage == "lacking":
        del tensors["a/3.weight/momentum_buffer"]
    if damage == "strange":
        tensors["a/3.weight/exp_avg"] = torch.zeros(6, 4, 3, 3)
    if damage == "negative":
        tensors["a/0.weight/exp_avg_sq"] = -torch.ones(4, 1, 3, 3)
    with pytest.raises(concord.CheckpointError, match=r"here: a/[03]\.weight"):
        check_like(Muon()(nets), nets, tensors, "here", [])


def test_muon_is_an_optimizer_of_fit_and_of_a_settings_file(tmp_path):
    x, y = torch.randn(60, 1, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
    made = concord.Ensemble(members(0), consensus="l2", weight=0.1)
    made.fit((x, y), epochs=2, optimizer=concord.Muon(lr=0.05, adam_lr=0.01), out=tmp_path / "run")
    written = RunFolder(tmp_path / "run").config().train.optimizer
    assert (written.kind, written.lr, written.adam_lr, written.momentum) == ("muon", 0.05, 0.01, 0.95)
