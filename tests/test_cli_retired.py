"""A member that diverged: the run stops and names it, and the others can go on without it."""

import json

import pytest
import run_made
import torch
from safetensors.torch import load_file

import concord
from concord.errors import CheckpointError, DivergedError, StoppedError, UsageError
from concord.runs import toml
from concord.runs.plan import edges_of

TRAIN = {"epochs": 2, "batch_size": 32, "threads": 1, "precision": "float32", "device": "cpu"}
BREAKS = """
import torch
from torch import nn


class Breaks(nn.Module):
    '''Gives infinity from its sixth training batch on, and nothing of it is in its parameters.'''

    def __init__(self, channels, classes):
        super().__init__()
        self.head = nn.Linear(channels * 64, classes)
        self.register_buffer("asked", torch.tensor(0))

    def forward(self, x):
        if self.training:
            self.asked += 1
        z = self.head(x.flatten(1))
        return z * float("inf") if self.training and self.asked > 5 else z


def net(channels, classes):
    return Breaks(channels, classes)
"""


def settings(names="abc", **consensus):
    members = [{"name": name, "network": "noel2017_st(filters=4)"} for name in names]
    data = {"limit": 142, "valid": 0.1}  # 128 of them in four batches
    chosen = {"cost": "l2", "weight": 0.1} | consensus
    return {"members": members, "data": data, "consensus": chosen, "train": dict(TRAIN)}


def weights(run, member):
    return load_file(max(run.glob("ckpt/step-*")) / f"member-{member}.safetensors")


def stopped(path, tables, updates=5):
    polls = iter(range(10**6))
    with pytest.raises(StoppedError):
        concord.train(tables, path, stop=lambda: next(polls) == updates)
    return path


@pytest.mark.fault(9)
def test_the_way_out_that_the_error_names_is_one(tmp_path, monkeypatch, capsys):
    (tmp_path / "breaking.py").write_text(BREAKS)
    monkeypatch.chdir(tmp_path)
    tables = settings("ab")
    tables["members"][1]["network"] = "breaking:net"
    code = ["breaking:net"]
    with pytest.raises(DivergedError, match=r"the loss of b is not a finite number.*--without b`") as told:
        concord.train(tables, tmp_path / "run", allow_code=code)
    assert told.value.members == ("b",)
    command = str(told.value).partition("alone: `concord ")[2].removesuffix("`").split()
    before = weights(tmp_path / "run", "b")
    status, out, _ = run_made.call(capsys, *command, "--allow-code", *code, "--json")
    assert status == 0
    result = json.loads(out)
    assert result["members"].keys() == {"a", "b"}
    assert (
        "b: retired, learned nothing" in json.loads((tmp_path / "run/result.json").read_text())["notices"][-1]
    )
    after = weights(tmp_path / "run", "b")
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert (
        concord.evaluate(tmp_path / "run", allow_code=code)["members"]["a"]["nll"]
        == result["members"]["a"]["nll"]
    )


@pytest.mark.fault(9)
def test_nobody_learns_from_a_retired_member_and_the_others_go_on_as_without_it(tmp_path):
    """With b retired from the first update on, a and c train as a cohort of two."""
    run = stopped(tmp_path / "run", settings(edges="all"), updates=0)
    concord.resume(run, without=["b"])
    concord.train(settings("ac", edges="all"), tmp_path / "pair")
    for name in "ac":
        ours, pair = weights(run, name), weights(tmp_path / "pair", name)
        assert all(torch.equal(ours[k], pair[k]) for k in pair)


def test_a_run_without_a_member_resumes_bit_for_bit(tmp_path):
    whole, cut = (stopped(tmp_path / name, settings()) for name in ("whole", "cut"))
    concord.resume(whole, without=["c"])
    polls = iter(range(10**6))
    with pytest.raises(StoppedError):
        concord.resume(cut, without=["c"], stop=lambda: next(polls) == 2)
    concord.resume(cut)  # it is in the configuration by now
    for name in "abc":
        assert all(torch.equal(v, weights(whole, name)[k]) for k, v in weights(cut, name).items())


@pytest.mark.parametrize("shape", ["chain", "all", "ring", "star", "one_way", "mean"])
def test_a_shape_is_one_of_those_that_are_left(shape):
    tables = settings("abcd", edges=shape)
    tables["members"][0]["retired"] = True  # an end of the chain, the centre of the star
    left = edges_of(toml.parse(tables), 0, None)
    three = edges_of(toml.parse(settings("bcd", edges=shape)), 0, None)
    assert [row[1:] for row in left.weight[1:]] == list(three.weight)
    assert left.blend == three.blend
    assert left.weight[0] == (0, 0, 0, 0)
    assert [row[0] for row in left.weight] == [0, 0, 0, 0]


def test_a_matching_leaves_nobody_out_for_the_sake_of_a_retired_member():
    apart = [[0, 0.9, 0.9], [0.9, 0, 0.1], [0.9, 0.1, 0]]
    for edges in ("disagreement_matching", "random_matching"):
        tables = settings("abc", edges=edges)
        tables["members"][0]["retired"] = True
        assert edges_of(toml.parse(tables), 0, {"disagreement": apart}).weight[1:] == ((0, 0, 1), (0, 1, 0))


def test_whether_a_peer_stands_still_goes_with_its_edge():
    tables = settings("abc", edges="chain", detach=[[True] * 3, [True, True, False], [True] * 3])
    tables["members"][0]["retired"] = True
    assert edges_of(toml.parse(tables), 0, None).detach[1][2] is False


def test_edges_of_a_retired_member_are_gone_from_a_table_in_both_directions():
    tables = settings()
    tables["members"][1]["retired"] = True
    tables["consensus"]["edges"] = [[0, 1, 2], [3, 0, 4], [5, 6, 0]]
    assert edges_of(toml.parse(tables), 0, None).weight == ((0, 0, 2), (0, 0, 0), (5, 0, 0))


@pytest.mark.parametrize(
    ("without", "consensus", "message"),
    [
        (["d"], {}, r"--without d: no such member; there are: a, b, c"),
        (["a", "b", "c"], {}, "no member learns"),
        (["a"], {"cost": "kdcl_naive"}, "KDCL targets are made of all members"),
    ],
)
def test_who_cannot_be_left_out_is_told(without, consensus, message, tmp_path):
    run = stopped(tmp_path / "run", settings(**consensus), updates=1)
    with pytest.raises(UsageError, match=message):
        concord.resume(run, without=without)


def test_a_complete_run_goes_on_without_nobody(tmp_path):
    concord.train(settings("ab"), tmp_path / "run")
    with pytest.raises(UsageError, match="is complete, and nothing is left to learn"):
        concord.resume(tmp_path / "run", without=["a"])


def test_a_kdcl_run_is_not_told_to_go_on_without_a_member(tmp_path, monkeypatch):
    (tmp_path / "breaking.py").write_text(BREAKS)
    monkeypatch.chdir(tmp_path)
    tables = settings("ab", cost="kdcl_naive")
    tables["members"][1]["network"] = "breaking:net"
    with pytest.raises(DivergedError, match="the loss of b is not") as told:
        concord.train(tables, tmp_path / "run", allow_code=["breaking:net"])
    assert "--without" not in str(told.value)


def test_a_run_of_a_study_that_went_on_without_a_member_does_not_count(tmp_path):
    study = settings("ab") | {"study": {"seeds": [0], "arms": []}}
    del study["consensus"]
    cell = tmp_path / "study/cells/a+b_none_seed0"
    stopped(cell, {k: v for k, v in study.items() if k != "study"}, updates=1)
    concord.resume(cell, without=["b"])
    with pytest.raises(CheckpointError, match="no run of this study is complete"):
        concord.study(study, tmp_path / "study", jobs=1)


def test_retirement_lets_no_other_change_through(tmp_path):
    run = stopped(tmp_path / "run", settings(), updates=1)
    with pytest.raises(CheckpointError, match=r"train.batch_size: 32 -> 16"):
        concord.resume(run, without=["a"], settings=["train.batch_size=16"])


def test_a_checkpoint_of_an_older_version_goes_on_with_new_settings_at_their_defaults(tmp_path):
    from concord.training import checkpoint

    run = stopped(tmp_path / "run", settings(), updates=2)
    found = checkpoint.newest(run / "ckpt")[0]
    older = found.state["config"]
    del older["train"]["stacked"]
    for member in older["members"]:
        del member["device"], member["retired"]
    checkpoint.save(run / "ckpt", 2, found.tensors, found.state)
    assert concord.resume(run)["members"].keys() == set("abc")
