"""A cost without a weight has the recommended one, in settings files, studies and Python."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from python_made import Small, data, members, same, states
from torch import nn

import concord
from concord.data.batches import indices
from concord.errors import UsageError
from concord.runs import toml
from concord.runs.config_consensus import Consensus
from concord.runs.own_saved import binding_of
from concord.studies.grid import cells, parse
from concord.studies.settings import Arm

TWO = [{"name": name, "network": "noel2017_st"} for name in ("a", "b")]
RISING = {"kind": "linear", "until": 1.0}


def pair():
    return {"a": Small(), "b": nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))}


@pytest.mark.parametrize("cost", ["kl", "sce_tf1"])
def test_a_cost_without_a_weight_has_weight_one_that_rises(cost):
    found = toml.parse({"members": TWO, "consensus": {"cost": cost}}).consensus
    assert found == Consensus(cost, weight=1.0, schedule=RISING)


def test_a_given_weight_is_constant():
    assert Consensus("kl", weight=0.5).schedule == concord.runs.ramps.Constant()


def test_a_schedule_that_is_given_is_that_of_the_recommended_weight():
    found = Consensus("kl", schedule={"kind": "burn_in", "until": 0.25})
    assert (found.weight, found.schedule.kind, found.schedule.until) == (1.0, "burn_in", 0.25)


def test_the_plain_ensemble_needs_no_weight():
    assert Consensus().weight == 0.0


def test_a_cost_that_has_no_recommended_weight_needs_one():
    with pytest.raises(UsageError, match=r"consensus: give the weight of l2, for example .*; only kl and"):
        toml.parse({"members": TWO, "consensus": {"cost": "l2"}})


def test_an_arm_without_weights_is_the_recommended_one_and_its_row_says_so():
    arm = Arm(cost="kl")
    assert (arm.weights, arm.row) == ([1.0], "kl linear 1")
    assert Arm(cost="kl", weights=[1.0]).row == "kl"
    with pytest.raises(UsageError, match=r"give the weights of l2, for example 0\.1 and 0\.01; only kl"):
        Arm(cost="l2")


def test_an_ensemble_of_kl_learns_with_a_weight_that_rises_from_nothing_to_one():
    """sum_m CE(f_m(x), y) + i / (n - 1) sum_mj KL(sg p_j || p_m) in update i of n, by gradient descent."""
    x, y = data()
    made, twins = pair(), pair()
    for name, member in made.items():
        twins[name].load_state_dict(member.state_dict())
    concord.Ensemble(made, consensus="kl").fit(
        (x, y), valid=None, epochs=2, batch_size=16, seed=3, schedule=None,
        optimizer=concord.Sgd(lr=0.1, momentum=0.0, weight_decay=0.0),
    )  # fmt: skip

    sgd = torch.optim.SGD([p for m in twins.values() for p in m.parameters()], lr=0.1)
    batches = [i for epoch in range(2) for i in indices(len(x), batch_size=16, seed=3, epoch=epoch)]
    for update, index in enumerate(batches):
        a, b = (member(x[index]) for member in twins.values())
        apart = F.kl_div(a.log_softmax(1), b.detach().softmax(1), reduction="batchmean")
        apart = apart + F.kl_div(b.log_softmax(1), a.detach().softmax(1), reduction="batchmean")
        loss = F.cross_entropy(a, y[index]) + F.cross_entropy(b, y[index])
        sgd.zero_grad()
        (loss + update / (len(batches) - 1) * apart).backward()
        sgd.step()
    for name, member in made.items():
        for key, value in member.state_dict().items():
            torch.testing.assert_close(value, twins[name].state_dict()[key], rtol=1e-4, atol=1e-6)


def test_the_arms_of_a_study_have_their_own_weights_and_its_base_has_none():
    """Arms are constant unless they or the base have a schedule."""
    base = {"cost": "kl", "edges": "all"}
    arms = [{"cost": "kl", "weights": [1.0]}, {"cost": "l2", "weights": [0.1]}]
    study, config = parse({"members": TWO, "consensus": base, "study": {"arms": arms, "seeds": [0]}})
    found = [cell.config.consensus for cell in cells(study, config, Path("runs"))]
    assert [(one.cost, one.weight, one.schedule.kind) for one in found] == [
        ("none", 0.0, "constant"), ("kl", 1.0, "constant"), ("l2", 0.1, "constant"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "weight"),
    [
        ({"cost": "kl"}, None),
        ({"cost": "kl", "weight": 1.0}, 1.0),
        ({"cost": "kl", "weight": 0.3, "schedule": RISING}, 0.3),
        ({"cost": "l2", "weight": 0.1, "schedule": {"kind": "burn_in", "until": 0.5}}, 0.1),
    ],
)
def test_only_the_recommended_weight_of_a_run_is_read_as_none_given(settings, weight):
    assert binding_of(Consensus(**settings)).weight == weight


def test_a_saved_ensemble_keeps_a_weight_that_rises(tmp_path):
    first = concord.Ensemble(members(), consensus="kl")
    first.fit(data(), epochs=1)
    first.save(tmp_path / "saved")
    again = concord.load(tmp_path / "saved", members=members())
    for ensemble in (first, again):
        ensemble.fit(data(), epochs=2)
    assert same(states(first), states(again))
    assert repr(again).endswith("consensus='kl', weight=1, schedule='linear')")
