"""The row of snapshots: what a member predicts together with what it was at the ends of earlier cycles."""

from dataclasses import asdict

import pytest

from concord.consensus.names import ENSEMBLE
from concord.errors import UsageError
from concord.report.study_prices import sizes_table
from concord.report.study_view import study_view
from concord.runs.evaluate import evaluate, snapshots_together
from concord.runs.train import train
from concord.studies import grid
from concord.studies.rows import SNAPSHOTS_FILE
from concord.studies.worker import Worker

TABLES = {
    "data": {"limit": 60, "valid": 0.2},
    "members": [
        {"name": "a", "network": "noel2017_st(filters=2, bricks=1)"},
        {"name": "b", "network": "noel2017_st(filters=3, bricks=1)"},
    ],
    "train": {"epochs": 4, "batch_size": 20, "threads": 1, "precision": "float32"},
    "study": {"seeds": [0], "snapshots": [2]},
}


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """The folder of a study, what it varies, its cells, and the results of its worker."""
    folder = tmp_path_factory.mktemp("study")
    varied, _ = grid.parse(TABLES)
    cells = grid.cells(*grid.parse(TABLES), folder / "cells")
    worker = Worker(talk=None, folder=folder / "cells", threads=1, allow_code=())
    return folder, varied, cells, [worker.run(cell) for cell in cells]


def test_the_row_has_the_figures_of_the_snapshots_of_each_member_together(studied, tmp_path):
    folder, varied, cells, (_, result) = studied
    cyclic = cells[1]
    alone = cyclic.config.model_copy(update={"members": cyclic.config.members[:1]})
    train(alone, tmp_path / "a")  # without consensus it becomes what it became beside b
    expected = evaluate(tmp_path / "a", snapshots=True)
    assert list(expected.members) == ["a@1", "a@2"]
    row = next(cell for cell in study_view(folder, varied, cells).cells if cell.cost == "snapshots")
    together = asdict(expected.ensemble)
    measures = {
        "test_error": "test_error",
        "valid_error": "valid_error",
        "test_nll": "nll",
        "test_ece": "ece",
    }
    for measure, key in measures.items():
        assert row.scores[measure]["a"] == pytest.approx(together[key])
    assert result["members"]["a"]["test_error"] == row.scores["test_error"]["a"]
    everyone = evaluate(folder / "cells" / cyclic.name, snapshots=True)
    assert list(everyone.members) == ["a@1", "b@1", "a@2", "b@2"]
    assert row.scores["test_nll"][ENSEMBLE] == pytest.approx(everyone.ensemble.nll)
    assert result[ENSEMBLE]["test_error"] == everyone.ensemble.test_error
    assert row.sizes["a"] == (2 * expected.members["a@1"].parameters, 2 * expected.members["a@1"].macs)


def test_runs_of_one_cycle_have_no_snapshots_and_others_those_of_every_member(studied):
    folder, _, cells, _ = studied
    found = snapshots_together(folder / "cells" / cells[1].name)
    assert list(found) == ["a", "b", ENSEMBLE]
    with pytest.raises(UsageError, match="one cycle"):
        snapshots_together(folder / "cells" / cells[0].name)


def test_the_table_of_sizes_has_one_network_for_each_member(studied):
    folder, varied, cells, _ = studied
    view = study_view(folder, varied, cells)
    plain = next(cell for cell in view.cells if cell.cost == "none")
    table = sizes_table(view, ("a", "b"))
    assert [[entry.text for entry in row] for row in table.rows[:2]] == [
        [name, *(f"{size:,}" for size in plain.sizes[name])] for name in "ab"
    ]


def test_figures_that_a_kill_prevented_are_made_when_the_study_is_repeated(studied):
    folder, varied, cells, (_, result) = studied
    runs, cyclic = folder / "cells", cells[1]
    before = (runs / cyclic.name / SNAPSHOTS_FILE).read_bytes()
    (runs / cyclic.name / SNAPSHOTS_FILE).unlink()
    assert [cell.done(runs) for cell in cells] == [True, False]
    assert [cell.cost for cell in study_view(folder, varied, cells).cells] == ["none"]
    again = Worker(talk=None, folder=runs, threads=1, allow_code=()).run(cyclic)
    assert again["members"]["a"]["test_error"] == result["members"]["a"]["test_error"]
    assert (runs / cyclic.name / SNAPSHOTS_FILE).read_bytes() == before
    assert all(cell.done(runs) for cell in cells)
