"""No other run stands in the place of a cell of a study."""

import json
import shutil

import pytest
from trust_made import run, sealed, settings

import concord
from concord.errors import CheckpointError, StoppedError
from concord.runs import toml

PLAIN, PULLED, OTHER = "a+b_none_seed0", "a+b_l2-0.1_seed0", "a+b_none_seed1"


def tables(folder, **study):
    base = settings(folder, 1)
    base.pop("consensus")
    return {**base, "study": {"seeds": [0, 1], "arms": [{"cost": "l2", "weights": [0.1]}], **study}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    concord.study(tables(folder), folder / "study", jobs=1)
    return folder


@pytest.fixture
def study(made, tmp_path):
    return shutil.copytree(made / "study", tmp_path / "study")


def put(path, to):
    shutil.rmtree(to)
    shutil.copytree(path, to)


def refused(made, study, cell, *words):
    """By the verbs that show a study and the one that continues it."""
    status, _, err = run("report", study)
    assert (status, cell in err, "Traceback" in err) == (4, True, False), err
    assert [word for word in words if word not in err] == []
    with pytest.raises(CheckpointError, match=r"not the run of the cell|is a link"):
        concord.study(tables(made), study, jobs=1, report=False)


@pytest.mark.parametrize(
    ("cell", "other", "words"),
    [
        (PULLED, PLAIN, ["consensus.cost: 'l2' -> 'none'", "consensus.weight: 0.1 -> 0.0"]),
        (PLAIN, OTHER, ["train.seed: 0 -> 1"]),
    ],
)
def test_a_cell_is_not_taken_for_another(cell, other, words, made, study):
    put(study / "cells" / other, study / "cells" / cell)
    refused(made, study, cell, *words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train": {"epochs": 2}}, "train.epochs: 1 -> 2"),
        ({"data": {"valid": 0.3}}, "data.valid: 0.2 -> 0.3"),
        ({"members": [{"name": n, "network": "noel2017_st(filters=5)"} for n in "ab"]}, "filters=5"),
        ({"members": [{"name": n, "network": "noel2017_st(filters=4)"} for n in "ba"]}, "order of members"),
    ],
)
def test_a_run_of_other_settings_is_named_with_what_differs(change, words, made, study, tmp_path):
    tables_of_it = settings(tmp_path, 1)
    tables_of_it.pop("consensus")
    for section, values in change.items():
        joined = values if section == "members" else {**tables_of_it[section], **values}
        tables_of_it[section] = joined
    concord.train(tables_of_it, tmp_path / "other")
    put(tmp_path / "other", study / "cells" / PLAIN)
    refused(made, study, PLAIN, words)


def test_a_run_on_other_data_is_named_though_its_settings_are_the_same(made, study, tmp_path):
    from run_made import write_npz

    same = settings(tmp_path, 1)
    same.pop("consensus")
    write_npz(tmp_path / "data.npz", seed=5)
    concord.train(same, tmp_path / "other")
    put(tmp_path / "other", study / "cells" / PLAIN)
    refused(made, study, PLAIN, "data: ")


def test_a_stopped_run_of_other_settings_is_not_continued(made, study, tmp_path):
    other = settings(tmp_path, 3)
    polls = iter(range(100))
    with pytest.raises(StoppedError):
        concord.train(other, tmp_path / "other", stop=lambda: next(polls) > 4)
    put(tmp_path / "other", study / "cells" / PLAIN)
    before = sorted(p.name for p in (study / "cells" / PLAIN / "ckpt").iterdir())
    with pytest.raises(CheckpointError, match=r"train\.epochs: 1 -> 3"):
        concord.study(tables(made), study, jobs=1, report=False)
    assert sorted(p.name for p in (study / "cells" / PLAIN / "ckpt").iterdir()) == before


@pytest.mark.parametrize("what", ["cells", f"cells/{PLAIN}"])
def test_a_link_in_the_place_of_a_cell_is_refused_even_to_the_right_run(what, made, study, tmp_path):
    (study / what).rename(tmp_path / "elsewhere")
    (study / what).symlink_to(tmp_path / "elsewhere")
    refused(made, study, PLAIN, "is a link")


def test_a_study_that_was_moved_or_opened_on_another_machine_is_the_same_study(made, tmp_path):
    """Teachers are named by their cells, and what was chosen for the machine may be anything."""
    moved = tmp_path / "elsewhere"
    concord.study(tables(made, distil=[0.5]), tmp_path / "study", jobs=1, report=False)
    (tmp_path / "study").rename(moved)
    for file in moved.glob("cells/*/config.toml"):
        file.write_text(file.read_text().replace("threads = 1", "threads = 3"))
        sealed(file.parent)
    open_ = {"train": {"epochs": 1, "batch_size": 16}}
    text = toml.read(moved / "study.toml")
    (moved / "study.toml").write_text(toml.to_text({**text, **open_}))
    assert run("report", moved)[0] == 0


def test_data_that_lie_elsewhere_now_are_the_same_if_another_run_of_the_seed_shows_it(made, study, tmp_path):
    moved = shutil.copy(made / "data.npz", tmp_path / "moved.npz")
    cell = study / "cells" / PLAIN
    (cell / "result.json").unlink()
    assert run("resume", cell, "--quiet", "--set", f"data.source={moved}")[0] == 0
    assert json.dumps(str(moved)) in (cell / "config.toml").read_text()
    assert run("report", study)[0] == 0
    shutil.rmtree(study / "cells" / PULLED)
    status, _, err = run("report", study)
    assert (status, PLAIN in err, "data.source: " in err) == (4, True, True)


def test_a_run_beside_the_cells_shows_that_the_study_was_another_one(made, study):
    settings_file = study / "study.toml"
    settings_file.write_text(settings_file.read_text().replace("seeds = [0, 1]", "seeds = [0, 7]"))
    status, _, err = run("report", study)
    assert (status, "a+b_l2-0.1_seed1" in err, "not a cell of the study" in err) == (4, True, True)


def test_a_figure_that_cannot_be_averaged_is_damage(made, study):
    file = study / "cells" / PLAIN / "result.json"
    result = json.loads(file.read_text())
    result["members"]["a"]["test_error"] = 1e308
    file.write_text(json.dumps(result))
    sealed(file.parent)
    status, _, err = run("report", study)
    assert (status, "members.a.test_error is not a number" in err) == (4, True)
