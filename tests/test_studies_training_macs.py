"""What trainings cost, beside what members of a loop are asked, and through the rows of a small study."""

import pytest
import torch
from torch import nn
from training_made import own_batches, run, samples

from concord.consensus.edges import shape
from concord.report.study_view import study_view
from concord.runs.config import Config, Fgsm, Member, Train, Unlabelled
from concord.runs.config_consensus import Consensus
from concord.runs.train import train
from concord.runs.training_costs import training_cost_of
from concord.runs.training_macs import learned_from, of_a_sample, training_macs
from concord.studies import grid
from concord.training.batch import Batch

STEPS, ROWS, EXTRA = 3, 6, 5


class Asked(nn.Module):
    """Counts samples: one for a forward pass, three for one with gradients."""

    def __init__(self, seed, learns=True):
        super().__init__()
        torch.manual_seed(seed)
        self.dense, self.spent = nn.Linear(16, 3), 0
        self.requires_grad_(learns)

    def forward(self, x):
        learned = torch.is_grad_enabled() and self.dense.weight.requires_grad
        self.spent += len(x) * (3 if learned else 1)
        return self.dense(x.flatten(1))


def batches(own, extra):
    if own:
        made = own_batches(STEPS, 3)
    else:
        made = [Batch((x,), (y,)) for x, y in (samples(step, ROWS) for step in range(STEPS))]
    return [one._replace(unlabelled=torch.randn(EXTRA, 1, 4, 4) if extra else None) for one in made]


@pytest.mark.parametrize("teacher", [False, True])
@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("alternating", [False, True])
@pytest.mark.parametrize("edges", ["chain", "one_way"])
def test_the_passes_are_those_that_the_loop_asks_members_for(edges, alternating, own, extra, teacher):
    members = [Asked(seed, learns=not (teacher and seed == 2)) for seed in range(3)]

    def weight(index):  # as burn_in of 0.5 has it in three updates
        return float(index >= 1)

    options = {"edges": shape(edges, 3), "alternating": alternating, "weight": weight}
    run(
        members,
        batches(own, extra),
        torch.optim.SGD([p for m in members for p in m.parameters()], 0.1),
        **options,
    )
    config = Config(
        members=[
            Member(name, network="own.py:f", teacher="runs/x" if teacher and name == "c" else None)
            for name in "abc"
        ],
        consensus=Consensus("l2", weight=1.0, edges=edges, schedule={"kind": "burn_in", "until": 0.5}),
        train=Train(
            epochs=1,
            batches="own" if own else "shared",
            update="alternating" if alternating else "simultaneous",
        ),
        unlabelled=Unlabelled(source="rest", batch_size=EXTRA) if extra else None,
    )
    epochs = [{"step": STEPS, "seconds": 2.0, "samples_per_second": STEPS * ROWS / 2}]
    found = training_macs(config, dict.fromkeys("abc", 1), (1, 4, 4), 3, epochs)
    assert found == {name: member.spent for name, member in zip("abc", members, strict=True)}


def test_a_sample_of_a_known_network_costs_what_its_update_costs():
    exact = training_cost_of("noel2017_st", (3, 32, 32), batch=7, classes=10).macs
    assert 7 * of_a_sample("noel2017_st", (3, 32, 32), 10, 5_792_064) == exact
    assert of_a_sample("own.py:factory", (3, 32, 32), 10, 1000) == 3000


def test_adversarial_training_and_unknown_networks_have_no_figure():
    members = [Member("a", network="own.py:f"), Member("b", network="own.py:f")]
    epochs = [{"step": 1, "seconds": 1.0, "samples_per_second": 2.0}]
    config = Config(members=members)
    assert training_macs(config, {"a": None, "b": 5}, (1,), 2, epochs) == {"a": None, "b": 30}
    hardened = Config(members=members, adversarial=Fgsm(kind="fgsm"))
    assert training_macs(hardened, {"a": 5, "b": 5}, (1,), 2, epochs) == {"a": None, "b": None}


def test_a_member_has_learned_from_whoever_reaches_it():
    members = [Member(name, network="f") for name in "abc"]

    def learned(name, **consensus):
        return learned_from(Config(members=members, consensus=Consensus(**consensus)), name)

    assert [learned(name, cost="l2", weight=1.0, edges="one_way") for name in "abc"] == [
        ["a", "b", "c"],
        ["b", "c"],
        ["c"],
    ]
    assert learned("b", cost="l2", weight=1.0, edges="random_matching") == ["a", "b", "c"]
    assert learned("b", cost="l2", weight=0.0) == ["b"]
    assert learned("b", cost="none") == ["b"]


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    """The figures of a study of one epoch, whose cells are trained here, one after the other."""
    folder = tmp_path_factory.mktemp("study")
    tables = {
        "data": {"limit": 40, "valid": 0.0},
        "members": [
            {"name": "a", "network": "noel2017_st(filters=2, bricks=1)"},
            {"name": "b", "network": "noel2017_st(filters=3, bricks=1)"},
        ],
        "train": {"epochs": 1, "batch_size": 20, "threads": 1, "precision": "float32"},
        "study": {
            "seeds": [0],
            "alone": True,
            "arms": [{"cost": "l2", "weights": [0.1]}],
            "distil": [1.0],
            "once": [1.0],
            "chain": {"generations": 2},
            "instead": {"both": "batch_ensemble(noel2017_st(filters=2, bricks=1), members=2)"},
        },
    }
    varied, cells = grid.parse(tables)[0], grid.cells(*grid.parse(tables), folder / "cells")
    for cell in cells:
        train(cell.config, folder / "cells" / cell.name)
    return study_view(folder, varied, cells)


def test_the_training_of_teachers_counts_for_those_who_learned_from_them(view):
    found = {
        (c.cost, c.weight): dict(c.training_macs) for c in view.cells if c.cost not in ("alone", "distil")
    }
    plain = found["none", 0.0]
    a, b = plain["a"], plain["b"]
    ours = {name: next(c for c in view.cells if c.cost == "none").sizes[name][1] for name in "ab"}
    asked = {
        name: 40 * ours[name] for name in "ab"
    }  # the forward passes of a teacher, one epoch of 40 images
    assert asked["a"] < a < 3 * asked["a"]  # the first layer needs no gradient of its input
    assert plain["ensemble"] == a + b
    assert found["l2", 0.1] == {"a": a + b, "b": a + b, "ensemble": a + b}
    teachers = asked["a"] + asked["b"] + a + b
    assert found["once", 1.0] == {"a": a + teachers, "b": b + teachers}
    first = {"a": 2 * a + asked["a"], "b": 2 * b + asked["b"]}
    assert found["chain", 1.0] == first
    assert found["chain", 2.0] == {"a": first["a"] + asked["a"] + a, "b": first["b"] + asked["b"] + b}
    shared = next(c for c in view.cells if c.cost == "distil" and "a" in c.training_macs)
    assert shared.training_macs == {"a": a + asked["b"] + b}
    alone = next(c for c in view.cells if c.cost == "alone" and c.members == ("b",))
    assert alone.training_macs["b"] == b
    assert found["both", 0.0]["ensemble"] > 2 * a - 2 * asked["a"]


def test_every_generation_stands_for_itself_in_the_folder_of_the_study(view):
    chain = [cell for cell in view.cells if cell.cost == "chain"]
    assert [(cell.weight, sorted(cell.scores["test_error"])) for cell in chain] == [
        (1.0, ["a", "b"]),
        (2.0, ["a", "b"]),
    ]
    assert chain[0].votes["a"] != chain[1].votes["a"]
