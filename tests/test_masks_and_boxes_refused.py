"""What runs of masks and boxes refuse, with nothing lost: wrong data, wrong members, places to write."""

import numpy as np
import pytest
import vision_runs_made as made_of
from run_made import call
from vision_runs_made import TASKS, tables, train, write_data

import concord
from concord.errors import DataError, UsageError
from concord.zoo.unet import unet


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    runs = {}
    for task in TASKS:
        member = dict([next(iter(made_of.MEMBERS[task].items()))])
        runs[task] = train(tmp_path_factory.mktemp(task), task, members=member, epochs=1)
    return runs


def pictures(run):
    return sorted((run.parent / "data" / "images").glob("*.png"))


@pytest.mark.parametrize("task", TASKS)
def test_a_prediction_never_takes_the_place_of_a_picture(task, made, capsys, tmp_path):
    run, file = made[task], pictures(made[task])[0]
    before = file.read_bytes()
    (tmp_path / "link").symlink_to(file.parent)
    for to in (file.parent, tmp_path / "link"):
        status, _, said = call(capsys, "predict", run, file, "--to", to)
        assert (status, file.read_bytes()) == (2, before)
        assert "is one of the pictures, which the result would replace" in said
    assert call(capsys, "predict", run, file, "--to", tmp_path / "found")[0] == 0


def test_a_score_is_of_boxes_and_nothing_written_is_not_announced(made, capsys, tmp_path):
    run = made["segment"]
    status, _, said = call(capsys, "predict", run, pictures(run)[0], "--score", "0.5")
    assert (status, "a score is of boxes" in said) == (2, True)
    status, _, said = call(capsys, "predict", run, tmp_path / "nowhere.png", "--to", tmp_path / "found")
    assert (status, "are in" in said, (tmp_path / "found").exists()) == (3, False, False)


@pytest.mark.parametrize("task", TASKS)
def test_a_training_without_its_task_says_which_it_is(task, made, capsys, tmp_path):
    data = made[task].parent / "data"
    status, _, said = call(
        capsys, "train", "--data", data, "--members", "noel2017_st", "--out", tmp_path / "r"
    )
    assert (status, f"`concord train --task {task}` is for them" in said) == (2, True)
    status, _, said = call(capsys, "train", "--data", data, "--out", tmp_path / "r")
    assert (status, f"`concord train --task {task}` is for them" in said) == (2, True)
    assert not (tmp_path / "r").exists()


def test_members_with_different_margins_are_refused_before_anything_is_written(made, tmp_path):
    members = {"deep": "unet(width=2,depth=2)", "same": "unet(width=2,depth=2,same=1)"}
    settings = tables("segment", made["segment"].parent / "data", members, data={"size": 60})
    with pytest.raises(UsageError, match=r"different numbers of pixels on each side \(deep 20, same 0\)"):
        concord.train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_maps_of_different_sizes_are_refused_from_python_too():
    x = np.random.default_rng(0).random((4, 1, 44, 44), np.float32)
    members = {"deep": unet(width=2, depth=2), "same": unet(width=2, depth=2, same=1)}
    ensemble = concord.Ensemble(members, task="segment")
    with pytest.raises(UsageError, match=r"maps of different sizes \(4x4, 44x44\)"):
        ensemble.fit((x, (x[:, 0] > 0.5).astype(np.int64)), epochs=1, batch_size=2)


def test_a_validation_part_without_boxes_is_refused_before_anything_is_written(tmp_path):
    data = write_data(tmp_path, "detect")
    for file in data.glob("images/*.xml"):
        (data / "valid").mkdir(exist_ok=True)
        if file.stem in ("00", "01"):
            text = file.read_text()
            (data / "valid" / file.name).write_text(text[: text.index("<object>")] + "</annotation>")
            file.with_suffix(".png").rename(data / "valid" / f"{file.stem}.png")
            file.unlink()
    (data / "images").rename(data / "train")
    with pytest.raises(DataError, match="the validation images have no boxes that count"):
        concord.train(tables("detect", data), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"valid": 1.5}, "data.valid is a fraction from 0 to below 1, got 1.5"),
        ({"test": -0.5}, "data.test is a fraction from 0 to below 1, got -0.5"),
        ({"valid": float("nan")}, "data.valid is a fraction from 0 to below 1, got nan"),
        ({"limit": 0}, "data.limit must be 1 or more, got 0"),
    ],
)
def test_parts_of_boxes_that_cannot_be_cut_are_refused_in_python(asked, said, made):
    with pytest.raises(UsageError, match=said):
        concord.load_boxes(made["detect"].parent / "data", size=64, **asked)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"crops": 32}, r"crops is such as Crops\(size=256\), got 32"),
        ({"classes": ["background", "disc"]}, "classes is a mapping of names to values or colours"),
        ({"classes": {"background": 0, "disc": "x"}}, "class 'disc' has x; expected a value"),
    ],
)
def test_arguments_of_another_kind_are_refused_for_masks_in_python(asked, said, made):
    with pytest.raises(UsageError, match=said):
        concord.load_masks(made["segment"].parent / "data", **asked)


def test_crops_that_no_memory_holds_are_refused(made, tmp_path):
    settings = tables("segment", made["segment"].parent / "data", data={"size": 100_000})
    with pytest.raises(UsageError, match="the size of crops must be 1 to 4096, got 100000x100000"):
        concord.train(settings, tmp_path / "run")


def test_a_switch_of_a_u_net_is_0_or_1():
    with pytest.raises(UsageError, match="norm is 0 or 1, got 5"):
        unet(width=2, depth=1, norm=5)
