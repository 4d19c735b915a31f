"""The cells of a study."""

from pathlib import Path

import pytest

from concord.errors import UsageError
from concord.studies import grid

BASE = {"members": [{"name": name, "network": "noel2017_st"} for name in "abc"]}


def cells(study=None, **tables):
    return grid.cells(*grid.parse(BASE | tables | {"study": study or {}}), Path("cells"))


def rows(found):
    return [(c.cost, c.weight, "".join(c.members), c.seed) for c in found]


def test_a_grid_is_costs_times_weights_times_sets_times_seeds():
    arms = [{"cost": "l2", "weights": [0.1, 0.01]}, {"cost": "sce", "weights": [1.0]}]
    found = cells({"arms": arms, "seeds": [0, 5], "sets": [["a", "b"], ["a", "b", "c"]], "alone": True})
    assert len(found) == 2 * (2 + 3 + 2 * (1 + 2 + 1) - 2)  # a and b alone stand in both sets
    assert rows(found)[:6] == [
        ("alone", 0.0, "a", 0),
        ("alone", 0.0, "b", 0),
        ("none", 0.0, "ab", 0),
        ("l2", 0.1, "ab", 0),
        ("l2", 0.01, "ab", 0),
        ("sce", 1.0, "ab", 0),
    ]
    assert [c.seed for c in found] == sorted(c.seed for c in found)
    assert len({c.name for c in found}) == len(found)


def test_the_configuration_of_a_cell_is_the_base_with_what_the_row_says():
    arms = [{"cost": "kl", "weights": [0.5]}]
    tables = {"consensus": {"cost": "kl", "temperature": 3.0}, "train": {"epochs": 7, "seed": 99}}
    plain, pulled = cells({"arms": arms, "seeds": [4], "sets": [["a", "c"]]}, **tables)
    assert [m.name for m in pulled.config.members] == ["a", "c"]
    assert (pulled.config.train.seed, pulled.config.train.epochs) == (4, 7)
    assert (pulled.config.consensus.cost, pulled.config.consensus.weight) == ("kl", 0.5)
    assert pulled.config.consensus.temperature == 3.0
    assert (plain.config.consensus.cost, plain.config.consensus.weight) == ("none", 0.0)
    assert plain.config.train == pulled.config.train


def test_baselines_need_no_edges_and_no_temperature_of_the_base():
    table = [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    found = cells({"alone": True, "seeds": [0]}, consensus={"cost": "kl", "temperature": 2.0, "edges": table})
    assert [c.cost for c in found] == ["alone", "alone", "alone", "none"]


def test_weights_that_differ_late_are_two_cells():
    found = cells({"arms": [{"cost": "l2", "weights": [0.1, 0.10000001, 0.1]}], "seeds": [0]})
    assert rows(found) == [("none", 0.0, "abc", 0), ("l2", 0.1, "abc", 0), ("l2", 0.10000001, "abc", 0)]
    assert [c.name for c in found][1:] == ["a+b+c_l2-0.1_seed0", "a+b+c_l2-0.10000001_seed0"]


def test_without_arms_the_plain_ensemble_runs_for_three_seeds():
    assert rows(cells()) == [("none", 0.0, "abc", seed) for seed in (0, 1, 2)]


def test_a_taught_member_learns_from_the_others_of_the_plain_run_of_its_seed():
    found = cells({"distil": [0.5], "seeds": [4], "sets": [["a", "c"]]}, train={"label_smoothing": 0.2})
    assert rows(found) == [("none", 0.0, "ac", 4), ("distil", 0.5, "ac", 4), ("distil", 0.5, "ac", 4)]
    plain, _, taught = found
    assert taught.name == "a+c_distil-0.5-c_seed4"
    assert taught.only == {"c": "c"}
    teachers = {m.name: m.teacher for m in taught.config.members}
    assert teachers == {"a": f"cells/{plain.name}:a", "c": None}
    assert taught.teacher == Path("cells", plain.name)
    consensus = taught.config.consensus
    assert (consensus.cost, consensus.weight, consensus.edges) == ("kl", 0.5, "mean")
    assert taught.config.train == plain.config.train


def test_softened_labels_and_a_wider_network_change_nothing_else():
    plain, soft, wide = cells({"smoothing": [0.1], "wider": "lenet5", "seeds": [0], "sets": [["a", "b"]]})
    assert soft.config.train.label_smoothing == 0.1
    assert soft.config.members == plain.config.members
    assert (soft.cost, soft.weight, soft.only) == ("smoothing", 0.1, None)
    assert [m.network for m in wide.config.members] == ["lenet5"]
    assert wide.config.train == plain.config.train
    assert (wide.members, wide.only) == (("a", "b"), {"wider": "ensemble"})


def test_averages_of_weights_change_nothing_else():
    plain, averaged = cells({"ema": [0.99], "seeds": [0]}, train={"label_smoothing": 0.2})
    assert (averaged.cost, averaged.weight, averaged.only) == ("ema", 0.99, None)
    assert averaged.config.train.ema == 0.99
    assert averaged.config.model_copy(update={"train": plain.config.train}) == plain.config
    assert plain.config.train.ema == 0.0


def test_snapshots_are_those_of_cosine_cycles():
    plain, found = cells({"snapshots": [3], "seeds": [0]}, train={"epochs": 6, "ema": 0.9})
    assert (found.cost, found.weight, found.only, found.name) == (
        "snapshots",
        3.0,
        None,
        "a+b+c_snapshots-3_seed0",
    )
    changed = {"schedule": "cosine", "cycles": 3}
    assert found.config.train == plain.config.train.model_copy(update=changed)
    with pytest.raises(UsageError, match=r"train\.cycles is 4, which does not divide train\.epochs = 6"):
        cells({"snapshots": [4]}, train={"epochs": 6})
    with pytest.raises(UsageError, match=r"study\.snapshots sets train\.cycles"):
        cells({"snapshots": [3]}, train={"epochs": 6, "cycles": 2})


def test_members_taught_once_learn_from_the_whole_plain_ensemble_of_their_seed():
    plain, once = cells({"once": [0.5], "seeds": [4], "sets": [["a", "c"]]})
    assert (once.name, once.only) == ("a+c_once-0.5_seed4", {"a": "a", "c": "c"})
    assert {m.name: m.teacher for m in once.config.members} == {
        "a": None,
        "c": None,
        "a.teacher": f"cells/{plain.name}:a",
        "c.teacher": f"cells/{plain.name}:c",
    }
    consensus, nobody = once.config.consensus, [0.0] * 4
    assert (consensus.cost, consensus.weight) == ("kl", 0.5)
    assert consensus.edges == [[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.5, 0.5], nobody, nobody]
    assert once.teacher == Path("cells", plain.name)


def test_each_generation_of_a_chain_is_taught_by_the_run_of_the_one_before():
    chain = {"generations": 2, "weight": 0.5, "weight_decay": 0.01}
    plain, first, second = cells({"chain": chain, "seeds": [4], "sets": [["a", "c"]]})
    assert rows([first, second]) == [("chain", 1.0, "ac", 4), ("chain", 2.0, "ac", 4)]
    assert (first.name, second.only) == ("a+c_chain-1_seed4", {"a": "a", "c": "c"})
    assert (first.teacher, second.teacher) == (Path("cells", plain.name), Path("cells", first.name))
    assert {m.name: m.teacher for m in second.config.members} == {
        "a": None,
        "c": None,
        "a.teacher": f"cells/{first.name}:a",
        "c.teacher": f"cells/{first.name}:c",
    }
    consensus, nobody = second.config.consensus, [0.0] * 4
    assert (consensus.cost, consensus.weight) == ("kl", 0.5)
    assert consensus.edges == [[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0], nobody, nobody]
    decay = [cell.config.train.optimizer.weight_decay for cell in (plain, first, second)]
    assert decay == [1e-4, 0.01, 0.01]


def test_a_member_by_itself_can_have_generations():
    found = cells({"chain": {"generations": 1}, "seeds": [0], "sets": [["b"]]})
    assert rows(found) == [("none", 0.0, "b", 0), ("chain", 1.0, "b", 0)]
    assert found[1].config.train == found[0].config.train


def test_any_network_can_stand_for_all_members_under_a_name_of_its_own():
    packed = "packed_ensemble(noel2017_st, members=2)"
    study = {"wider": "lenet5", "instead": {"packed": packed}, "seeds": [0], "sets": [["a", "b"]]}
    _, wide, one = cells(study)
    assert (wide.cost, one.cost, one.name) == ("wider", "packed", "a+b_packed_seed0")
    assert [(m.name, m.network) for m in one.config.members] == [("packed", packed)]
    assert (one.members, one.only) == (("a", "b"), {"packed": "ensemble"})


def test_an_arm_with_a_schedule_of_its_own_is_a_row_of_its_own():
    arms = [
        {"cost": "l2", "weights": [0.1]},
        {"cost": "l2", "weights": [0.1, 0.01], "schedule": {"kind": "burn_in", "until": 0.5}},
        {"cost": "l2", "weights": [0.1], "schedule": {"kind": "piecewise", "points": [[0.25, 0.0]]}},
    ]
    found = cells({"arms": arms, "seeds": [0]}, consensus={"schedule": {"kind": "linear", "until": 0.2}})
    assert rows(found)[1:] == [
        ("l2", 0.1, "abc", 0),
        ("l2 burn_in 0.5", 0.1, "abc", 0),
        ("l2 burn_in 0.5", 0.01, "abc", 0),
        ("l2 piecewise 0.25:0", 0.1, "abc", 0),
    ]
    assert [c.config.consensus.schedule.kind for c in found[1:]] == ["linear", *["burn_in"] * 2, "piecewise"]
    assert [c.name for c in found[2:]] == [
        "a+b+c_l2_burn_in_0.5-0.1_seed0",
        "a+b+c_l2_burn_in_0.5-0.01_seed0",
        "a+b+c_l2_piecewise_0.25_0-0.1_seed0",
    ]


def test_a_single_member_has_nobody_to_learn_from():
    for study in ({"distil": [1.0]}, {"once": [1.0]}, {"wider": "lenet5"}, {"instead": {"x": "lenet5"}}):
        with pytest.raises(UsageError, match="need a set of several members"):
            cells(study | {"sets": [["a"], ["b"]]})


def test_rows_that_could_not_be_told_apart_or_taught_are_refused():
    with pytest.raises(UsageError, match=r"study\.wider stands for one set of members; there are 2"):
        cells({"wider": "lenet5", "sets": [["a", "b"], ["a", "b", "c"]]})
    with pytest.raises(UsageError, match=r"study\.smoothing 0\.1 is train\.label_smoothing"):
        cells({"smoothing": [0.1]}, train={"label_smoothing": 0.1})
    with pytest.raises(UsageError, match=r"study\.ema 0\.5 is train\.ema, which every row has"):
        cells({"ema": [0.9, 0.5]}, train={"ema": 0.5})
    taught = [*BASE["members"][:2], BASE["members"][2] | {"teacher": "runs/x"}]
    with pytest.raises(UsageError, match=r"study\.distil makes teachers itself; .* teacher of c"):
        cells({"distil": [1.0]}, members=taught)
    with pytest.raises(UsageError, match=r"study\.once makes teachers itself; .* teacher of c"):
        cells({"once": [1.0]}, members=taught)
    with pytest.raises(UsageError, match=r"study\.chain makes teachers itself; .* teacher of c"):
        cells({"chain": {"generations": 1}}, members=taught)
    with pytest.raises(UsageError, match=r"study\.instead stands for one set of members; there are 2"):
        cells({"instead": {"x": "lenet5"}, "sets": [["a", "b"], ["a", "b", "c"]]})


@pytest.mark.parametrize(
    ("study", "said"),
    [
        ({"arm": []}, "study.arm: unknown key (did you mean 'arms'?)"),
        ({"arms": [{"cost": "l2", "wieghts": [1.0]}]}, "study.arms.0.wieghts: unknown key (did you mean"),
        ({"arms": [{"cost": "l3", "weights": [1.0]}]}, "study.arms.0.cost"),
        ({"arms": [{"cost": "none", "weights": [1.0]}]}, "study.arms.0.cost: the plain ensemble runs anyway"),
        ({"arms": [{"cost": "l2", "weights": []}]}, "study.arms.0.weights"),
        ({"arms": [{"cost": "l2", "weights": [0.0]}]}, "study.arms.0.weights.0"),
        ({"arms": [{"cost": "l2", "weights": [float("nan")]}]}, "study.arms.0.weights.0"),
        ({"arms": [{"cost": "l2"}]}, "study.arms.0: give the weights of l2, for example"),
        ({"seeds": []}, "study.seeds"),
        ({"seeds": ["0"]}, "study.seeds.0"),
        ({"seeds": [True]}, "study.seeds.0"),
        ({"published": "imagenet"}, "study.published"),
        ({"smoothing": [1.0]}, "study.smoothing.0"),
        ({"ema": [0.0]}, "study.ema.0"),
        ({"snapshots": [1]}, "study.snapshots.0"),
        ({"distil": [0.0]}, "study.distil.0"),
        ({"once": [0.0]}, "study.once.0"),
        (
            {"arms": [{"cost": "l2", "weights": [1.0], "schedule": {"kind": "burnin"}}]},
            "study.arms.0.schedule",
        ),
        ({"wider": ""}, "study.wider"),
        ({"chain": {}}, "study.chain.generations: is missing"),
        ({"chain": {"generations": 0}}, "study.chain.generations"),
        ({"chain": 3}, "study.chain"),
        ({"instead": {"l2": "lenet5"}}, "study.instead: 'l2' is the name of another row"),
        ({"instead": {"../x": "lenet5"}}, "study.instead: must begin with a letter or digit"),
        ({"instead": {"x": ""}}, "study.instead.x"),
        ([], "study: must be a table"),
        (3, "study: must be a table"),
    ],
)
def test_a_wrong_study_is_answered_with_the_key(study, said):
    with pytest.raises(UsageError) as caught:
        grid.parse(BASE | {"study": study}, "study.toml")
    assert str(caught.value).startswith("study.toml:")
    assert said in str(caught.value)


@pytest.mark.parametrize(("sets", "said"), [([["a", "x"]], "names x;"), ([[]], "names no member;")])
def test_sets_name_members(sets, said):
    with pytest.raises(UsageError, match=f"{said} the members are a, b, c"):
        cells({"sets": sets})


@pytest.mark.parametrize("study", [{"sets": [["a", "b"], ["c", "c"]]}, {"seeds": [0, 1, 0]}])
def test_what_is_named_twice_is_refused(study):
    with pytest.raises(UsageError, match=r"\['c', 'c'\] names one|\[0, 1, 0\] names one"):
        cells(study)


def test_faults_of_the_base_are_told_too():
    with pytest.raises(UsageError, match=r"train\.epochs"):
        grid.parse(BASE | {"train": {"epochs": 0}})
