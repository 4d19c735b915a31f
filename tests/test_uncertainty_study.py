"""The tool that measures again how sure the networks of a study are."""

import runpy
from pathlib import Path

import pytest
from run_made import write_npz
from scipy import stats

import concord
from concord.errors import UsageError

TOOLS = Path(__file__).parent.parent / "tools"
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(TOOLS)
    TOOL = runpy.run_path(str(TOOLS / "uncertainty_study.py"))


def rows(arms):
    return {
        (arm, str(seed), column, "NLL"): value
        for arm, values in arms.items()
        for seed, value in enumerate(values)
        for column in ("members", "ensemble")
    }


def test_a_change_is_paired_by_seed_and_has_a_star_where_both_tests_exclude_none():
    plain, ours = [0.5, 0.6, 0.7, 0.5, 0.6, 0.7], [0.4, 0.52, 0.59, 0.42, 0.49, 0.58]
    members, _ = TOOL["tables"](rows({"none": plain, "kl linear 1": ours}))
    ((name, mean, change),) = [[entry.text for entry in row] for row in members.rows]
    low, high = stats.ttest_rel(ours, plain).confidence_interval(0.95)
    assert (name, mean) == ("NLL", "0.6")
    assert change == f"-0.1* ({low:.3g} to {high:.3g}, p 0.031)"


def test_one_seed_shows_a_change_without_an_interval():
    members, _ = TOOL["tables"](rows({"none": [0.5], "kl linear 1": [0.4]}))
    assert [entry.text for entry in members.rows[0]] == ["NLL", "0.5", "-0.1"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sure") / "study"
    settings = {
        "data": {"source": "digits", "limit": 100, "valid": 0.3},
        "members": [{"name": name, "network": "noel2017_st"} for name in "ab"],
        "train": {"epochs": 1, "threads": 1},
        "study": {"seeds": [0], "arms": [{"cost": "kl"}]},
    }
    concord.study(settings, folder, jobs=1, report=False)
    return folder


def test_rows_hold_what_the_verbs_say_of_the_runs(study, tmp_path):
    write_npz(tmp_path / "other.npz")
    other = str(tmp_path / "other.npz")
    found = TOOL["collected"](study, {}, ["none", "kl linear 1"], other, 20)
    assert {key[:2] for key in found} == {("none", "0"), ("kl linear 1 1", "0")}
    run = study / "cells/a+b_none_seed0"
    said = concord.evaluate(run, against=other).to_dict()
    sure = said["uncertainty"]["members"]
    middle = sum(sure[name]["sets"]["lac"]["size"] for name in "ab") / 2
    assert found["none", "0", "members", "labels of lac"] == pytest.approx(middle)
    auroc = said["against"][0]["ensemble"]["entropy"]["auroc"]
    assert found["none", "0", "ensemble", "AUROC of entropy %"] == pytest.approx(100 * auroc)
    wrong = concord.corrupt(run, limit=20).to_dict()["networks"]["ensemble"]["mean_error"]
    assert found["none", "0", "ensemble", "corrupted: error %"] == pytest.approx(100 * wrong)


def test_what_has_rows_is_not_measured_again(study):
    rows = {("none", "0", "members", "NLL"): 0.5, ("kl linear 1 1", "0", "members", "NLL"): 0.4}
    assert TOOL["collected"](study, dict(rows), ["none", "kl linear 1"], None, None) == rows


@pytest.mark.parametrize(
    ("arms", "said"),
    [(["none", "l2"], "which has none, kl linear 1; got none, l2"), (["kl linear 1"], "needs none")],
)
def test_arms_that_cannot_be_compared_are_refused(arms, said, study):
    with pytest.raises(UsageError, match=said):
        TOOL["collected"](study, {}, arms, None, None)


def test_a_folder_that_is_no_study_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is no folder of `concord study`"):
        TOOL["collected"](tmp_path, {}, ["none"], None, None)
