"""The ways to train the chosen network: who learns from whom; and a teacher of the user's."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import concord
from concord.errors import CheckpointError, DataError
from concord.runs.config import Config, Member
from concord.runs.interface import Interface
from concord.shipping.asked import Asked
from concord.shipping.ending import _rivals
from concord.shipping.limits import Limits
from concord.shipping.material import read
from concord.shipping.recipe import config_of
from concord.shipping.teacher import teacher_of
from concord.shipping.ways import TEMPERATURE, WEIGHT, _against, idle_teacher, way_of

RUNNER = SimpleNamespace(runs=Path("/out/runs"))
NETWORKS = ("noel2017_st(filters=2)", "noel2017_st(filters=4)")


def way(name, extra=()):
    found = way_of(name, *NETWORKS, RUNNER, extra)
    return found, Config(
        members=list(found.members), **({} if found.consensus is None else {"consensus": found.consensus})
    )


@pytest.mark.parametrize(("name", "members"), [("alone", ["small"]), ("plain", ["small", "partner"])])
def test_plain_ways_have_no_consensus(name, members):
    found, config = way(name)
    assert [member.name for member in config.members] == members
    assert found.consensus is None
    assert not any(member.teacher for member in config.members)


def test_once_learns_from_both_that_finished_plainly_with_half_each():
    _, config = way("once")
    assert [member.teacher for member in config.members] == [
        None,
        "/out/runs/plain:small",
        "/out/runs/plain:partner",
    ]
    assert config.consensus.edges == [[0, 0.5, 0.5], [0, 0, 0], [0, 0, 0]]
    assert (config.consensus.cost, config.consensus.weight) == ("kl", WEIGHT)
    assert config.consensus.temperature == TEMPERATURE


def test_a_chain_has_the_network_that_was_taught_once_among_its_teachers_and_that_of_the_user():
    own = Member(name="teacher", network="lenet5", teacher="/mine:big")
    _, config = way("chain", [own])
    assert [member.teacher for member in config.members[1:]] == [
        "/out/runs/plain:small",
        "/out/runs/plain:partner",
        "/out/runs/once:small",
        "/mine:big",
    ]
    assert config.consensus.edges[0] == [0, 0.25, 0.25, 0.25, 0.25]


def test_partners_have_the_recommended_consensus():
    _, config = way("collaborating")
    assert (config.consensus.cost, config.consensus.weight, config.consensus.temperature) == ("kl", 1.0, None)
    assert config.consensus.schedule.model_dump() == {"kind": "linear", "until": 1.0}


def test_a_teacher_that_has_no_run_to_teach_in_is_named():
    asked = Asked(concord.Data(source="digits"), Limits(), 1.0, "runs/big:m")
    assert idle_teacher(asked, ["alone"]) == (
        "the hours had no room for a run with teachers: runs/big:m taught nothing",
    )
    assert idle_teacher(asked, ["plain", "once"]) == ()
    assert idle_teacher(replace(asked, teacher=None), ["alone"]) == ()


def test_a_way_is_left_out_with_its_teachers_and_where_the_hours_have_no_room():
    full = {"expected_seconds": {"plain": 20, "once": 10, "chain": 10}, "most_seconds": 30}
    rows = [{"way": "plain", "seconds": 20}]
    assert _against("once", rows, {}, full) is None
    assert _against("once", rows, {}, {**full, "most_seconds": 29}) == "the hours had no room for it"
    assert _against("chain", rows, {"once": "nan"}, full) == "its teachers have no result"
    assert _against("once", [], {"plain": "nan"}, full) == "its teachers have no result"


def test_a_rival_that_is_missing_has_its_reason():
    baseline = {"name": "scikit-learn knn", "about": "", "wrong": [1]}
    runner = SimpleNamespace(
        material=SimpleNamespace(splits=SimpleNamespace(test=range(3)), data=SimpleNamespace(seed=0)),
        journal=SimpleNamespace(once=lambda key, decide: baseline),
    )
    choice = {"way": "plain", "rows": [{"way": "plain"}], "left_out": {"once": "its training diverged: nan"}}
    rivals, missing = _rivals(choice, 1.0, runner)
    assert [rival.name for rival in rivals] == ["scikit-learn knn"]
    named = "a rival is missing, the same network taught once by the finished ensemble: "
    assert missing == [f"{named}its training diverged: nan"]
    assert _rivals({**choice, "left_out": {}}, 1.0, runner)[1] == [f"{named}the hours had no room for it"]


@pytest.fixture(scope="module")
def material():
    return read(concord.Data(source="digits"), lambda: False)


def test_the_recipe_shifts_grey_pictures_and_mirrors_those_in_colour(material):
    grey = config_of(material, [Member(name="a", network="lenet5")], epochs=10, threads=1)
    assert (grey.augment.flip, grey.augment.shift) == (False, 1)  # 8 // 8
    assert grey.train.ema == pytest.approx(1 - 50 / (10 * 21))  # 1,294 images in batches of 64
    colour = SimpleNamespace(data=material.data, images=20_000, interface=SimpleNamespace(shape=(3, 32, 32)))
    found = config_of(colour, [Member(name="a", network="lenet5")], epochs=1, threads=1)
    assert (found.augment.flip, found.augment.shift, found.train.batch_size) == (True, 4, 128)


def test_a_member_of_a_finished_run_on_the_same_data_can_teach(material, tmp_path):
    config = {"members": [{"name": n, "network": "noel2017_st(filters=2)"} for n in ("a", "b")]}
    concord.train({**config, "train": {"epochs": 1, "threads": 1}}, tmp_path / "run")
    found = teacher_of(f"{tmp_path / 'run'}:b", material.interface)
    assert found.teacher == f"{(tmp_path / 'run').resolve()}:b"
    assert found.network == "noel2017_st(filters=2)"
    with pytest.raises(CheckpointError, match=r"name the member that teaches, such as .*:a"):
        teacher_of(str(tmp_path / "run"), material.interface)
    other = concord.load_data("digits", valid=0.3)
    with pytest.raises(DataError, match="another shape or normalisation"):
        teacher_of(f"{tmp_path / 'run'}:b", Interface.of(other))
    (tmp_path / "run/result.json").unlink()
    with pytest.raises(CheckpointError, match="is not finished"):
        teacher_of(f"{tmp_path / 'run'}:b", material.interface)
