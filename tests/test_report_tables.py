import pytest

from concord.files.text import printable
from concord.report.records import Cell, MemberView, Published, RunView, StudyView
from concord.report.run_tables import members_table, recall_table, settings_table
from concord.report.study_prices import pairs_table, sizes_table
from concord.report.study_tables import (
    choice_table,
    churn_table,
    difference_table,
    score_table,
    study_tables,
)
from concord.report.tables import Entry, Table, as_text, markdown, scored
from concord.report.text import percent, points, probability, setting_label, short, whole

PAIR = ("st", "m")


def texts(table):
    return [[entry.text for entry in row] for row in table.rows]


def best(table):
    return [[entry.text for entry in row if entry.best] for row in table.rows]


@pytest.fixture
def study():
    errors = {
        ("none", 0.0): [(0.08, 0.06, 0.05), (0.10, 0.06, 0.07)],
        ("l2", 0.1): [(0.05, 0.07, 0.06), (0.06, 0.09, 0.06)],
        ("l2", 0.01): [(0.06, 0.05, 0.04), (0.08, 0.04, 0.05)],
    }
    cells = [
        Cell(*setting, PAIR, seed, {"test_error": scores, "valid_error": scores})
        for setting, seeds in errors.items()
        for seed, scores in enumerate(dict(zip((*PAIR, "ensemble"), e, strict=True)) for e in seeds)
    ]
    cells += [
        Cell("alone", 0.0, ("st",), s, {"test_error": {"st": 0.09, "ensemble": 0.5}}) for s in (0, 1, 2)
    ]
    theirs = {("l2", 0.1): {"test_error": {"st": 0.0054}}, ("l2", 0.01): {"test_error": {"st": 0.0056}}}
    return StudyView("s", tuple(cells), published=Published("an author", theirs))


def test_scores_stand_with_their_deviation_beside_the_published_ones(study):
    table = score_table(study, PAIR)
    assert table.header == ("cost", "weight", "seeds", "st", "st, published", "m", "m, published",
                            "ensemble", "ensemble, published")  # fmt: skip
    assert texts(table) == [
        # sd of 0.08 and 0.10 is 0.02 / sqrt(2)
        ["none", "0", "2", "9.00 ± 1.41", "-", "6.00 ± 0.00", "-", "6.00 ± 1.41", "-"],
        ["alone", "0", "3", "9.00 ± 0.00", "-", "-", "-", "-", "-"],
        ["l2", "0.1", "2", "5.50 ± 0.71", "0.54", "8.00 ± 1.41", "-", "6.00 ± 0.00", "-"],
        ["l2", "0.01", "2", "7.00 ± 1.41", "0.56", "4.50 ± 0.71", "-", "4.50 ± 0.71", "-"],
    ]
    assert best(table) == [[], [], ["5.50 ± 0.71", "0.54"], ["4.50 ± 0.71", "4.50 ± 0.71"]]


def test_differences_are_paired_over_the_seeds(study):
    table = difference_table(study, PAIR, "none")
    # ensemble, l2 0.1: 0.01 and -0.01, mean 0, t(0.975, 1) = 12.7062, half width 12.7062 * 1 point
    rows = {tuple(row[:2]): row[2:] for row in texts(table)}
    assert rows["l2", "0.1"][4:] == ["+0.00 (-12.71 to +12.71)", "1"]
    assert rows["l2", "0.01"][:2] == ["-2.00 (-2.00 to -2.00)", "< 0.001"]
    assert rows["alone", "0"][2:] == ["-", "-", "-", "-"]
    assert ("none", "0") not in rows


def test_the_chosen_weight_has_its_test_error_and_its_difference(study):
    rows = {tuple(row[:2]): row[2:] for row in texts(choice_table(study, PAIR))}
    assert rows["st", "l2"][:3] == ["0.1", "5.50 ± 0.71", "5.50 ± 0.71"]
    assert rows["ensemble", "l2"][0] == "0.01"
    assert rows["st", "none"][-2:] == ["-", "-"]
    assert ("st", "alone") not in rows  # nothing was validated there


def test_the_smallest_validation_error_of_all_rows_decides_what_each_column_takes(study):
    assert choice_table(study, PAIR).notes[-1] == (
        "The validation split prefers st of 'l2' with weight 0.1 (-3.50 points of validation error to 'none',"
        " p 0.09); m of 'l2' with weight 0.01 (-1.50 points of validation error to 'none', p 0.2);"
        " ensemble of 'l2' with weight 0.01 (-1.50 points of validation error to 'none', p 0.2)."
    )


def test_a_row_without_weight_is_preferred_by_its_name_alone(study):
    plain = [cell for cell in study.cells if cell.cost == "none" or cell.weight == 0.1]
    assert choice_table(StudyView("s", tuple(plain)), PAIR).notes[-1] == (
        "The validation split prefers st of 'l2' with weight 0.1 (-3.50 points of validation error to 'none',"
        " p 0.09); m of 'none'; ensemble of 'none'."
    )


def test_a_study_has_a_table_for_every_question(study):
    captions = [table.caption.split(":")[0] for table in study_tables(study)]
    assert captions == [
        "Test error in %",
        "Difference of the test error to 'none' in percentage points",
        "Difference of the test error to 'alone' in percentage points",
        "Share of the plain ensemble's gain that members keep",
        "Weights chosen on the validation split",
    ]


def test_members_and_ensemble_of_a_run():
    result = {
        "members": {"a": {"test_error": 0.02, "nll": 0.1}},
        "ensemble": {"test_error": 0.01, "ece": 0.5},
        "agreement": 0.98,
        "seconds": 61.2,
    }
    run = RunView(
        "r",
        {},
        {},
        result,
        (),
        (MemberView("a", "net", 44_730, 5), MemberView("b", "other", None, 7)),
        samples=100,
    )
    table = members_table([run])
    assert texts(table) == [
        ["a", "2.00", "0.55 to 7.00", "-", "0.1000", "-", "44,730", "5", "net"],
        ["b", "-", "-", "-", "-", "-", "-", "7", "other"],
        ["ensemble", "1.00", "0.18 to 5.45", "-", "-", "0.5000", "-", "12", "mean of logits"],
    ]
    assert best(table) == [["0.1000"], [], ["1.00", "0.5000"]]
    assert table.notes[1:] == ("r: all members agree on 98.00 % of the test samples, trained in 61 s.",)
    assert members_table([run, run]).header[0] == "run"


def test_settings_are_flat_and_runs_stand_beside_each_other():
    table = settings_table("c", {"a": {"x": {"y": 1, "z": [0.9, None]}}, "b": {"x": {"y": True}, "s": "é"}})
    assert table.header == ("key", "a", "b")
    assert texts(table) == [["x.y", "1", "true"], ["x.z", "[0.9, null]", "-"], ["s", "-", "é"]]


def test_plain_text_is_aligned_with_a_star_at_the_best():
    rows = (
        (Entry("long name"), Entry("1.00"), Entry("7")),
        (Entry("日本"), Entry("10.00", best=True), Entry("8")),
    )
    lines = as_text(Table("caption", ("who", "error", "n"), rows, notes=("note",))).splitlines()
    assert lines == [
        "caption",
        "",
        "who        error   n",
        "---------  ------  -",
        "long name   1.00   7",
        "日本       10.00*  8",
        "",
        "note",
    ]


def test_markdown_marks_the_best_and_names_stay_in_their_cell():
    rows = ((Entry("<b>|x`*\x1b[2J"), Entry("1.00", best=True)),)
    assert markdown(Table("c", ("who", "error"), rows)) == (
        "c\n\n| who | error |\n| :-- | --: |\n| &lt;b>\\|x\\`\\*\\\\x1b\\[2J | **1.00** |\n"
    )


def test_equal_best_values_are_all_marked_and_unknown_ones_never():
    found = scored([0.5, None, float("nan"), 0.5, 0.7], percent)
    assert [e.best for e in found] == [True, False, False, True, False]


def test_control_characters_become_visible_and_letters_stay():
    assert printable("\x1b[2J\n\u202egpj.exe\udc80\x7f") == "\\x1b[2J\\n\\u202egpj.exe\\udc80\\x7f"
    assert printable("Größe 日本 ±") == "Größe 日本 ±"


def test_short_texts_keep_both_ends():
    assert short("photos/cats/0001.png", 11) == "photo…1.png"
    assert short("abc", 3) == "abc"


def test_numbers_are_written_for_people():
    assert [percent(0.0054), points(-0.0012), whole(44_730), whole(None)] == ["0.54", "-0.12", "44,730", "-"]
    assert [probability(0.0001), probability(0.0421)] == ["< 0.001", "0.042"]
    assert [setting_label("l2", 0.01), setting_label("none", 0.0)] == ["l2 0.01", "none"]


def test_churn_stands_per_setting_and_without_votes_there_is_no_table():
    votes = {
        ("l2", 0): [0, 1, 2, 3],
        ("l2", 1): [0, 1, 2, 0],
        ("none", 0): [0, 1, 1, 1],
        ("none", 1): [1, 0, 1, 1],
    }
    cells = tuple(
        Cell(cost, weight, ("st", "m"), seed, {}, votes={"st": said, "m": said, "ensemble": said})
        for (cost, seed), said in votes.items()
        for weight in [0.1 if cost == "l2" else 0.0]
    )
    table = churn_table(StudyView("s", cells), ("st", "m"))
    rows = {row[0].text: (row[2].text, row[2].best) for row in table.rows}
    assert rows == {"l2": ("25.00", True), "none": ("50.00", False)}
    bare = tuple(Cell(c.cost, c.weight, c.members, c.seed, {}) for c in cells)
    assert churn_table(StudyView("s", bare), ("st", "m")).rows == ()


def test_recall_and_its_mean_over_the_classes_that_have_samples():
    table = recall_table(["ST", "ensemble"], ["ant", "bee", "cow"], [4, 0, 2], [[0.75, 0, 0.5], [1, 0, 0.5]])
    assert [[entry.text for entry in row] for row in table.rows] == [
        ["ant", "4", "75.00", "100.00"],
        ["cow", "2", "50.00", "50.00"],
        ["balanced accuracy", "6", "62.50", "75.00"],
    ]
    assert table.notes == ("1 of 3 classes have no test samples.",)


def test_of_many_classes_the_hardest_are_shown_and_all_count():
    recall = [[k / 100 for k in reversed(range(50))]]
    table = recall_table(["ST"], [f"c{k}" for k in range(50)], [1] * 50, recall)
    assert [row[0].text for row in table.rows[:2]] == ["c49", "c48"]
    assert len(table.rows) == 21
    assert table.rows[-1][-1].text == "24.50"
    assert table.notes == ("The 20 of 50 classes with the lowest recall.",)


def priced(cost, seed, columns, seconds, members=PAIR, **pairs):
    sizes = {column: (10 * k, 100 * k) for k, column in enumerate(columns, 1)}
    return Cell(cost, 0.0, members, seed, {}, sizes=sizes, seconds=seconds, pairs=pairs)


def test_time_is_that_of_the_seeds_whose_runs_are_all_there():
    cells = (
        priced("none", 0, PAIR, 100.0, disagreement=0.25, error_correlation=0.5),
        priced("none", 1, PAIR, 110.0, disagreement=0.75),
        priced("alone", 0, ["st"], 40.0, ("st",)),
        priced("alone", 0, ["m"], 60.0, ("m",)),
        priced("alone", 1, ["st"], 50.0, ("st",)),  # m is missing
        priced("wider", 1, ["ensemble"], 90.0),
    )
    assert texts(pairs_table(StudyView("s", cells), PAIR)) == [
        ["none", "0", "2", "50.00 ± 35.36", "0.50", "-", "105 ± 7"],
        ["alone", "0", "2", "-", "-", "-", "100"],
        ["wider", "0", "1", "-", "-", "-", "90"],
    ]


def test_sizes_stand_in_the_order_of_the_members_with_their_sum_and_the_network_instead():
    odd = ("m", "wider")
    cells = (priced("wider", 0, ["ensemble"], 1.0, odd), priced("none", 0, ["wider", "m"], 1.0, odd))
    assert texts(sizes_table(StudyView("s", cells), odd)) == [
        ["m", "20", "200"],
        ["wider", "10", "100"],
        ["all members", "30", "300"],
        ["wider network", "10", "100"],
    ]
