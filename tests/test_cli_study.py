"""Rows of a study that are no plain grid: softened labels, taught members, one wide network."""

import json
import re
import shutil

import pytest
from run_made import FACTORY, Noted, call, write_npz

import concord
from concord.errors import DivergedError, UsageError
from concord.report.text import percent
from concord.studies import study as studies

EPOCHS = 2
STUDY = {
    "seeds": [0, 1],
    "alone": True,
    "smoothing": [0.1],
    "distil": [0.5],
    "once": [0.5],
    "wider": "study_rows:make",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    (folder / "study_rows.py").write_text(FACTORY)
    write_npz(folder / "data.npz")
    settings = {
        "data": {"source": "data.npz"},
        "members": [{"name": name, "network": "study_rows:make"} for name in ("a", "b")],
        "train": {"epochs": EPOCHS, "batch_size": 8, "precision": "float32", "device": "cpu"},
        "study": STUDY,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        yield settings, folder, concord.study(settings, "study", jobs=1, allow_code=["study_rows:make"])


def cells(figures, cost):
    return [cell for cell in figures["cells"] if cell["cost"] == cost]


def result(folder, name):
    return json.loads((folder / "study/cells" / name / "result.json").read_text())


def test_every_row_has_its_runs_and_its_columns(made):
    _, _, figures = made
    assert figures["failed"] == {}
    runs = {cost: cells(figures, cost) for cost in ("alone", "none", "smoothing", "distil", "once", "wider")}
    assert [len(found) for found in runs.values()] == [4, 2, 2, 4, 2, 2]
    shown = (runs["none"][0], *runs["distil"][:2], runs["once"][0], runs["wider"][0])
    columns = [set(c["scores"]["test_error"]) for c in shown]
    assert columns == [{"a", "b", "ensemble"}, {"a"}, {"b"}, {"a", "b"}, {"ensemble"}]


def test_a_teacher_has_the_weights_of_the_plain_run_and_keeps_them(made):
    _, folder, _ = made
    taught, plain = (result(folder, f"a+b_{row}_seed0") for row in ("distil-0.5-a", "none"))
    assert taught["members"]["b"] == plain["members"]["b"]  # the teacher
    assert taught["members"]["a"] != plain["members"]["a"]
    once = result(folder, "a+b_once-0.5_seed0")["members"]
    assert [once[f"{name}.teacher"] for name in "ab"] == [plain["members"][name] for name in "ab"]
    assert all(once[name] != plain["members"][name] for name in "ab")


def test_the_tables_hold_what_the_runs_say(made):
    _, folder, figures = made
    tables = {table["caption"]: table for table in figures["tables"]}
    errors = {row[0]["text"]: row for row in tables["Test error in %: a + b"]["rows"]}
    wide = [result(folder, f"a+b_wider_seed{seed}")["members"]["wider"]["test_error"] for seed in (0, 1)]
    assert errors["wider"][-1]["text"].startswith(percent(sum(wide) / 2))
    assert errors["wider"][3]["text"] == errors["distil"][-1]["text"] == "-"
    sizes = {row[0]["text"]: row[1]["text"] for row in tables["Sizes: a + b"]["rows"]}
    assert int(sizes["all members"]) == int(sizes["a"]) + int(sizes["b"])
    assert sizes["wider network"] == sizes["a"]
    pairs = {
        row[0]["text"]: [entry["text"] for entry in row] for row in tables["Members and time: a + b"]["rows"]
    }
    plain = [result(folder, f"a+b_none_seed{seed}")["disagreement"][0][1] for seed in (0, 1)]
    assert pairs["none"][2:4] == ["2", pairs["none"][3]]
    assert pairs["none"][3].startswith(percent(sum(plain) / 2))
    other = [result(folder, f"a+b_none_seed{seed}")["ensemble"]["probabilities"]["error"] for seed in (0, 1)]
    assert pairs["none"][5].startswith(percent(sum(other) / 2))
    assert pairs["wider"][3:6] == ["-", "-", "-"]


def test_the_report_shows_the_members_together(made):
    _, folder, _ = made
    page = (folder / "study/report.html").read_text()
    assert "distil" in page
    assert "Confusion matrix of ensemble, a+b_none_seed0" in page  # nothing is proven: the plain ensemble


def test_a_study_that_was_moved_goes_on_with_its_own_teachers(made, tmp_path):
    settings, folder, figures = made
    shutil.copytree(folder / "study", tmp_path / "moved")
    lost = ("a+b_none_seed0", "a+b_distil-0.5-a_seed0")
    for name in lost:
        shutil.rmtree(tmp_path / "moved/cells" / name)
    again = concord.study(settings, tmp_path / "moved", jobs=1, allow_code=["study_rows:make"])
    assert [c["scores"] for c in again["cells"]] == [c["scores"] for c in figures["cells"]]
    config = (tmp_path / "moved/cells" / lost[1] / "config.toml").read_text()
    assert f'teacher = "{tmp_path}/moved/cells/{lost[0]}:b"' in config


def test_pupils_of_a_run_that_diverged_are_named_and_the_others_taught(made, tmp_path, monkeypatch):
    settings, folder, _ = made
    trained = []

    def run_all(runs, cells, jobs, threads, allow_code, stop):
        for cell in cells:
            trained.append(cell.name)
            if cell.name == "a+b_none_seed0":
                yield cell, DivergedError("the loss of a is nan")
            else:
                shutil.copytree(folder / "study/cells" / cell.name, runs / cell.name)
                yield cell, result(folder, cell.name)

    monkeypatch.setattr(studies, "run_all", run_all)
    noted = Noted()
    figures = concord.study(settings, tmp_path / "study", report=False, observer=noted)
    rows = ("distil-0.5-a", "distil-0.5-b", "once-0.5")
    pupils = [f"a+b_{row}_seed0" for row in rows]
    assert figures["failed"] == {
        "a+b_none_seed0": "the loss of a is nan",
        **dict.fromkeys(pupils, "the run of its teachers gave no result: a+b_none_seed0"),
    }
    assert not set(pupils) & set(trained)
    assert trained[-3:] == [f"a+b_{row}_seed1" for row in rows]  # after all teachers
    assert len(cells(figures, "distil")) == 2
    assert noted.count == (16, 16)


RIVALS = [
    ({"wider": "resnet21"}, "study.wider: no network is named 'resnet21' (did you mean"),
    ({"wider": "resnet20(filter=3)"}, "study.wider: 'resnet20(filter=3)': expected resnet20 with"),
    ({"instead": {"p": "packed_ensemble(resnet21, members=2)"}}, "study.instead.p: no network is named"),
    ({"instead": {"t": "timm/resnet181"}}, "study.instead.t: timm has no network 'resnet181'"),
]


@pytest.mark.parametrize(("rival", "text"), RIVALS)
def test_a_rival_that_does_not_exist_is_refused_with_its_key_before_anything_is_written(
    rival, text, tmp_path
):
    members = [{"name": "a", "network": "resnet20"}, {"name": "b", "network": "resnet20"}]
    with pytest.raises(UsageError, match=re.escape(text)):
        concord.study({"members": members, "study": {"seeds": [0], **rival}}, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_rival_that_cannot_be_built_is_refused_with_its_key(tmp_path):
    settings = {
        "data": {"source": "digits", "limit": 60},
        "members": [{"name": name, "network": "noel2017_st"} for name in "ab"],
        "train": {"epochs": 1},
        "study": {"seeds": [0], "instead": {"p": "packed_ensemble(noel2017_st, members=65)"}},
    }
    with pytest.raises(UsageError, match=r"^study.instead.p: noel2017_st: members are at least 1"):
        concord.study(settings, tmp_path / "study", jobs=1)


def test_a_network_that_cannot_be_built_is_found_before_other_rows_are_trained(tmp_path, monkeypatch):
    settings = {
        "members": [{"name": "a", "network": "resnet20"}, {"name": "b", "network": "resnet20"}],
        "study": {"seeds": [0, 1], "alone": True, "smoothing": [0.1], "wider": "resnet20(filters=32)"},
    }
    order = []

    def run_all(runs, cells, *rest):
        order.extend(cell.name for cell in cells)
        yield cells[1], UsageError("resnet20 takes larger pictures")

    monkeypatch.setattr(studies, "run_all", run_all)
    with pytest.raises(UsageError, match="larger pictures"):
        concord.study(settings, tmp_path / "study")
    assert order[:3] == ["a_alone_seed0", "a+b_wider_seed0", "b_alone_seed0"]
    assert len(order) == 10


@pytest.mark.parametrize(("seeds", "bound"), [("0", "at least 1"), ("10001", "at most 10000")])
def test_a_number_of_seeds_out_of_range_is_answered_with_the_option(seeds, bound, capsys):
    status, _, err = call(capsys, "study", "--seeds", seeds)
    assert status == 2
    assert f"--seeds must be {bound}, got {seeds!r}" in err


@pytest.mark.parametrize("own", [[], ["--preset", "digits"]])
def test_arms_are_typed_as_cost_and_weights_and_replace_those_of_a_preset(own, monkeypatch, capsys):
    given = []

    def study(tables, *rest, **options):
        given.append(tables)
        raise UsageError("enough")

    monkeypatch.setattr("concord.api.study.study", study)
    assert call(capsys, "study", *own, "--arm", "l2:0.1,1e-2", "--arm", "sce: 1", "--arm", "kl")[0] == 2
    assert given[0]["study"]["arms"] == [
        {"cost": "l2", "weights": [0.1, 0.01]},
        {"cost": "sce", "weights": [1.0]},
        {"cost": "kl"},
    ]
