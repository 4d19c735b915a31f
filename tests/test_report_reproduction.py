"""When a study repeats a published gain: the same sign, within two standard deviations of chance."""

import pytest

from concord.report.noel2017 import published
from concord.report.records import Cell, Published, StudyView
from concord.report.reproduction import reproduction_table, verdict, verdicts
from concord.report.study_tables import study_tables
from concord.report.tables import as_text, markdown

PAIR = ("st", "m")
COLUMNS = (*PAIR, "ensemble")


def of(*settings, theirs=None):
    """A study of MNIST: (cost, weight, one triple of test errors in % per seed) for every row."""
    cells = [
        Cell(
            cost,
            weight,
            PAIR,
            seed,
            {"test_error": {c: e / 100 for c, e in zip(COLUMNS, errors, strict=True)}},
        )
        for cost, weight, *seeds in settings
        for seed, errors in enumerate(seeds)
    ]
    return StudyView("s", tuple(cells), published=theirs or published("mnist", PAIR))


PLAIN = ("none", 0.0, (0.80, 0.60, 0.50), (0.90, 0.70, 0.60))


def texts(table):
    return {tuple(e.text for e in row[:3]): [e.text for e in row[3:]] for row in table.rows}


@pytest.mark.parametrize(
    ("ours", "theirs", "sign", "inside"),
    [
        (0.004, 0.0049, True, True),
        (0.0029, 0.0049, True, True),  # the end of the band belongs to it
        (0.0028, 0.0049, True, False),
        (0.0070, 0.0049, True, False),  # more than was published is no repetition either
        (-0.0001, 0.0004, False, True),
        (-0.0049, 0.0049, False, False),
        (-0.0055, -0.0049, True, True),
        (0.0, 0.0004, False, True),
        (0.0, -0.0004, False, True),
        (0.0, 0.0, True, True),
    ],
)
def test_a_gain_passes_with_the_same_sign_within_two_standard_deviations(ours, theirs, sign, inside):
    found = verdict(ours, theirs, 0.001)
    assert (found.same_sign, found.inside, found.passes) == (sign, inside, sign and inside)
    assert (found.low, found.high) == pytest.approx((theirs - 0.002, theirs + 0.002))


def test_what_rounding_leaves_of_nothing_has_no_sign_and_is_outside_no_band():
    assert verdict(0.1 + 0.2 - 0.3, 0.0, 0.0).passes
    assert verdict(
        0.0031, 0.0051, 0.001
    ).inside  # as binary fractions they are a little more than 0.002 apart


def test_gains_of_a_study_of_mnist_by_hand():
    study = of(PLAIN, ("l2", 0.1, (0.60, 0.70, 0.51), (0.76, 0.80, 0.57)), ("l1", 1.0, (2.9, 2.9, 2.9)))
    assert texts(reproduction_table(study, PAIR)) == {
        # 0.725 - 0.54 = 0.185, 2 sd = 0.10; ours (0.20 + 0.14) / 2
        ("st", "l2", "0.1"): ["2", "+0.170", "+0.185 (+0.085 to +0.285)", "yes"],
        # 0.58 - 0.54 = 0.04, 2 sd = 0.16; ours (-0.10 - 0.10) / 2
        ("m", "l2", "0.1"): ["2", "-0.100", "+0.040 (-0.120 to +0.200)", "no: sign"],
        # 0.558 - 0.56 = -0.002, 2 sd = 0.08; ours (-0.01 + 0.03) / 2
        ("ensemble", "l2", "0.1"): ["2", "+0.010", "-0.002 (-0.082 to +0.078)", "no: sign"],
        # 0.725 - 2.75 = -2.025; ours 0.80 - 2.9, of the seed that both have
        ("st", "l1", "1"): ["1", "-2.100", "-2.025 (-2.125 to -1.925)", "yes"],
        ("m", "l1", "1"): ["1", "-2.300", "-2.170 (-2.330 to -2.010)", "yes"],
        # 0.558 - 2.74 = -2.182
        ("ensemble", "l1", "1"): ["1", "-2.400", "-2.182 (-2.262 to -2.102)", "no: size"],
    }


def test_both_faults_are_told():
    study = of(PLAIN, ("l2", 0.1, (0.90, 0.60, 0.50), (1.00, 0.70, 0.60)))
    assert texts(reproduction_table(study, PAIR))["st", "l2", "0.1"][-1] == "no: sign, size"


def test_the_note_counts_what_passes_and_what_is_beyond_chance():
    study = of(PLAIN, ("l2", 0.1, (0.60, 0.70, 0.51), (0.76, 0.80, 0.57)), ("l1", 1.0, (2.9, 2.9, 2.9)))
    note = reproduction_table(study, PAIR).notes[1]
    assert "3 of 6 pass; of the gains whose band leaves out zero, 3 of 4." in note


def test_rows_without_a_published_figure_or_without_a_common_seed_have_no_verdict():
    rest = ("l2", 0.5, (0.1, 0.1, 0.1)), ("alone", 0.0, (0.1, 0.1, 0.1))
    later = Cell("l2", 0.1, PAIR, 7, {"test_error": dict.fromkeys(COLUMNS, 0.1)})
    study = of(PLAIN, *rest)
    study = StudyView("s", (*study.cells, later), published=study.published)
    assert verdicts(study, PAIR) == {}
    bare = Published(
        "an author", {("l2", 0.1): {"test_error": {"st": 0.01}}}
    )  # who says nothing of his noise
    assert verdicts(of(PLAIN, ("l2", 0.1, (0.5, 0.5, 0.5)), theirs=bare), PAIR) == {}


def test_both_forms_of_the_cross_entropy_are_compared_with_the_authors():
    study = of(PLAIN, ("sce", 1.0, (0.795, 0.55, 0.5)), ("sce_tf1", 1.0, (0.795, 0.55, 0.5)))
    found = verdicts(study, PAIR)
    assert found["st", ("sce", 1.0)] == found["st", ("sce_tf1", 1.0)]
    assert found["m", ("sce_tf1", 1.0)].theirs == pytest.approx(0.0005)  # 0.58 - 0.53


def test_the_table_stands_among_those_of_a_study_with_published_figures_only():
    rows = PLAIN, ("l2", 0.1, (0.60, 0.70, 0.51))
    study = of(*rows)
    captions = [table.caption for table in study_tables(study)]
    assert "Are the published gains repeated? st + m" in captions
    bare = StudyView("s", study.cells)
    assert not any("repeated" in table.caption for table in study_tables(bare))
    table = reproduction_table(study, PAIR)
    assert "| st | l2 | 0.1 | 1 | +0.200 | +0.185 (+0.085 to +0.285) | yes |" in markdown(table)
    assert "ensemble  l2       0.1" in as_text(table)
