import pytest

from concord.report.noel2017 import published
from concord.report.records import Cell, MemberView, RunView, StudyView
from concord.report.series import (
    comparison_panels,
    drawn_split,
    is_plain,
    learning_panels,
    series,
    study_panels,
)


def line(epoch, error, weight=0.0, tested=True):
    score = {"error": error, "nll": 2 * error}
    split = {
        "members": {"st": score, "m": {"error": error / 2, "nll": error}},
        "ensemble": {"error": error / 4},
    }
    return {
        "epoch": epoch,
        "weight": weight,
        "train": split,
        "valid": split,
        "test": split if tested else None,
    }


def run(name, weight, tested=True):
    members = (MemberView("st", "a"), MemberView("m", "b"))
    return RunView(name, {}, {}, {}, [line(e, 0.1 / e, weight, tested) for e in (1, 2)], members)


def test_a_series_has_the_epochs_that_have_the_score():
    log = [line(1, 0.4), line(2, 0.2, tested=False), line(3, 0.1)]
    assert series(log, "test", "m", "error") == {1: 0.2, 3: 0.05}
    assert series(log, "test", "ensemble", "error") == {1: 0.1, 3: 0.025}
    assert series(log, "test", "ensemble", "nll") == {}


def test_validation_stands_in_for_a_test_split_that_is_looked_at_once():
    once = [line(1, 0.4, tested=False), line(2, 0.2)]
    assert drawn_split([once]) == "valid"
    assert drawn_split([once, [line(1, 0.4), line(2, 0.2)]]) == "test"
    assert drawn_split([[{"epoch": 1, "test": {"members": {}}}]]) == "test"


def test_a_run_without_weight_is_plain():
    assert is_plain(run("r", 0.0))
    assert not is_plain(run("r", 0.01))


def test_runs_are_compared_column_by_column():
    panels = comparison_panels([run("ours", 0.01), run("plain", 0.0)])
    assert [[p.title for p in row] for row in panels] == [
        ["test, st", "test, m", "test, ensemble"],
        ["test, st", "test, m"],  # the ensemble has no nll here
    ]
    assert [(c.label, c.plain, c.values[1]) for c in panels[0][1].curves] == [
        ("ours", False, 0.025),
        ("plain", True, 0.025),
    ]


def test_a_plain_run_stands_beside_in_grey():
    panels = learning_panels(run("ours", 0.01), run("plain", 0.0))
    assert [p.title for p in panels[0]] == ["training", "test"]
    assert [(c.label, c.plain) for c in panels[0][0].curves][:4] == [
        ("st", False),
        ("m", False),
        ("ensemble", False),
        ("st, plain", True),
    ]


def test_a_study_draws_the_mean_over_its_seeds_with_the_published_curve():
    log = {0: [line(1, 0.4), line(2, 0.2)], 1: [line(1, 0.2), line(2, 0.1), line(3, 0.05)]}
    cells = tuple(
        Cell(c, w, ("st", "m"), s, {}, log[s]) for c, w in (("none", 0.0), ("l2", 0.01)) for s in (0, 1)
    )
    study = StudyView("mnist", cells, published=published("mnist", ("st", "m")))
    (row,) = study_panels(study, ("st", "m"), "error")
    assert [p.title for p in row] == ["l2: st, test", "l2: m, test", "l2: ensemble, test"]
    curves = row[0].curves
    assert [(c.label, c.plain, c.published) for c in curves] == [
        ("plain ensemble", True, False),
        ("plain ensemble", True, True),
        ("weight 0.01", False, False),
        ("weight 0.01", False, True),
    ]
    assert curves[2].values == pytest.approx((0.3, 0.15, 0.05))
    assert curves[3].values[-1] == 0.0056


def test_a_row_of_one_column_has_panels_for_that_column_only():
    wide = {"epoch": 1, "valid": {"members": {}, "ensemble": {"error": 0.3}}}
    plain = [line(e, 0.1 / e, tested=False) for e in (1, 2)]
    cells = [
        Cell("none", 0.0, ("st", "m"), 0, {}, plain),
        Cell("wider", 0.0, ("st", "m"), 0, {}, [wide, wide | {"epoch": 2}]),
    ]
    ((panel,),) = study_panels(StudyView("s", tuple(cells)), ("st", "m"), "error")
    assert panel.title == "wider: ensemble, validation"
    assert [curve.label for curve in panel.curves] == ["plain ensemble", "wider network"]
