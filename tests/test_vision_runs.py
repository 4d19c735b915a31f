"""Runs of masks and boxes from their settings to their figures: what is learned, resumed and scored."""

import json
import re

import numpy as np
import pytest
import torch
import vision_runs_made as made_of
from PIL import Image
from run_made import after, call, outcome
from safetensors.torch import load_file
from vision_runs_made import CLASSES, MEMBERS, TASKS, tables, train, write_data

import concord
from concord.data.detection.anchors import anchors
from concord.errors import StoppedError
from concord.runs import train as runs
from concord.runs.vision.loading import load_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folders = {task: tmp_path_factory.mktemp(task) for task in TASKS}
    return {task: train(folder, task) for task, folder in folders.items()}


@pytest.fixture(scope="module")
def data(made):
    return {task: run.parent / "data" for task, run in made.items()}


def result_of(run):
    return json.loads((run / "result.json").read_text())


def parts_of(run):
    from concord.runs.vision.evaluate import parts_of

    return parts_of(load_run(run), None)


def last_weights(run, name):
    return load_file(sorted((run / "ckpt").glob("step-*"))[-1] / f"member-{name}.safetensors")


@pytest.mark.parametrize("name", ["a", "b"])
def test_the_pixel_error_is_that_of_whole_pictures_taken_one_by_one(made, data, name):
    """Pixels, normalisation and argmax by hand; sides are multiples of 4, so that nothing is mirrored."""
    run = made["segment"]
    network = load_run(run).members[name].network
    described = json.loads((run / "interface.json").read_text())
    wrong = pixels = 0
    for pair in parts_of(run).test.pairs:
        file = pair.image.path
        image = (np.asarray(Image.open(file), np.float32) - described["mean"][0]) / described["std"][0]
        mask = np.asarray(Image.open(data["segment"] / "masks" / file.name))
        with torch.no_grad():
            found = network(torch.from_numpy(image).float()[None, None])[0].argmax(0).numpy()
        wrong, pixels = wrong + (found != mask).sum(), pixels + mask.size
    assert result_of(run)["members"][name]["error"] == pytest.approx(wrong / pixels, abs=1e-9)


def test_masks_are_normalised_by_the_training_part_alone(made):
    run = made["segment"]
    names = [pair.image.path for pair in parts_of(run).train.pairs]
    pixels = np.concatenate([np.asarray(Image.open(name)).ravel() for name in names]).astype(float)
    described = json.loads((run / "interface.json").read_text())
    assert len(names) == 6
    assert (described["mean"][0], described["std"][0]) == pytest.approx((pixels.mean(), pixels.std()))


def test_anchors_are_those_of_the_training_boxes_in_pixels_of_the_canvas(data, tmp_path):
    """Pictures of 64x32 pixels on a canvas of 128x64."""
    run = concord.train(tables("detect", data["detect"], data={"size": 128}, epochs=1), tmp_path / "run").path
    names = [int(sample.image.stem) for sample in parts_of(run).train.samples]
    rows = [row for i in names for row in made_of.rectangles(i)[1]]
    sides = torch.tensor([(x2 - x1, y2 - y1) for _, x1, y1, x2, y2 in rows], dtype=torch.float64)
    found = anchors(2 * sides, 2, seed=0).sides
    described = json.loads((run / "interface.json").read_text())
    assert np.ravel(described["anchors"]) == pytest.approx(np.ravel(found))
    by_size = sorted(described["anchors"], key=lambda side: -side[0] * side[1])
    for network in load_run(run).members.values():  # the larger one on the coarser map
        assert np.ravel(network.anchors) == pytest.approx(np.ravel(by_size))


@pytest.mark.parametrize("task", TASKS)
def test_eval_finds_the_figures_of_the_training_again(made, task, capsys):
    status, out, _ = call(capsys, "eval", made[task], "--json")
    found, result = json.loads(out), result_of(made[task])
    clocks = ("seconds", "samples_per_second", "notices")
    assert status == 0
    assert found.keys() == result.keys()
    assert all(nearly(found[key], result[key]) for key in result if key not in clocks)


def nearly(one, other):
    """Equal documents, numbers up to the rounding of other batches."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(nearly(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(nearly, one, other))
    return one == pytest.approx(other, rel=1e-5) if isinstance(one, float) else one == other


def test_the_keys_that_other_programs_rely_on_stand_in_their_places(made):
    own = {"segment": {"error", "nll", "dice", "class_iou"}, "detect": {"ap50", "ap", "loss", "classes"}}
    top = {"run", "members", "ensemble", "seconds", "samples_per_second", "task", "classes", "size"}
    for task in TASKS:
        result = result_of(made[task])
        assert result.keys() >= top | ({"agreement"} if task == "segment" else set())
        for name, row in result["members"].items():
            assert row.keys() >= own[task] | {"parameters", "macs", "valid"}
            assert row["valid"].keys() >= own[task]
            network = load_run(made[task]).members[name]
            assert row["parameters"] == sum(p.numel() for p in network.parameters())
        assert result["task"] == task
        assert tuple(result["classes"]) == CLASSES[task]


@pytest.mark.parametrize("task", TASKS)
def test_the_run_as_an_object_has_its_figures_and_predicts(made, data, task):
    run = concord.Run(made[task])
    key = {"segment": "error", "detect": "ap50"}[task]
    row = run["members"]["a"]
    assert getattr(run.result.members["a"], key) == row[key]
    assert getattr(run.result.valid.members["a"], key) == row["valid"][key]
    assert f"{key}={row[key]!r}" in repr(run)
    assert getattr(run.evaluate().ensemble, key) == pytest.approx(getattr(run.result.ensemble, key))
    assert run.to_dict() == result_of(made[task])
    file = data[task] / "images" / "00.png"
    (found,) = run.predict(file, member="b")
    (other,) = concord.predict(made[task], file, member="b")
    assert found.to_dict() == other.to_dict()


def test_one_annotation_in_three_formats_is_one_training(tmp_path):
    found = {}
    for format in ("voc", "yolo", "coco"):
        source = made_of.boxes(tmp_path / format, format)
        run = concord.train(
            tables("detect", source, {"a": MEMBERS["detect"]["a"]}), tmp_path / f"{format}-run"
        )
        found[format] = outcome(run.path)[:2]
    assert found["voc"] == found["yolo"] == found["coco"]


STOPPED = {
    "masks": ("segment", {"augment": {"deform": 2.0, "turn": True, "flip": True}}, 3),
    "masks with borders": ("segment", {"segment": {"border": 5.0, "sigma": 2.0}}, 2),
    "boxes": ("detect", {"augment": {"mosaic": 0.5, "jitter": 0.1, "hue": 0.1}}, 3),
    # 15 updates in an epoch, the first ten of another size than the rest
    "boxes at scales": (
        "detect",
        {"detect": {"scales": True}, "batch_size": 1, "data": {"size": 128}, "seed": 2},
        6,
    ),
}


@pytest.mark.parametrize("kind", STOPPED)
def test_a_run_that_was_stopped_again_and_again_ends_as_one_that_was_not(kind, tmp_path):
    task, more, polls = STOPPED[kind]
    write = made_of.masks if task == "segment" else made_of.boxes
    source = write(tmp_path / "data", count=24 if "batch_size" in more else 12)
    settings = concord.Config(**tables(task, source, **{"batch_size": 2, **more}))
    runs.train(settings, tmp_path / "whole")
    with pytest.raises(StoppedError):
        runs.train(settings, tmp_path / "parts", stop=after(polls))
    parts = 1
    while True:
        torch.manual_seed(parts)  # no resume may depend on it
        try:
            runs.resume(tmp_path / "parts", stop=after(polls + parts))
            break
        except StoppedError:
            parts += 1
    assert parts > 1
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")


def test_processes_that_make_batches_change_nothing(tmp_path):
    for task, more in (("segment", {"augment": {"deform": 2.0}}), ("detect", {"detect": {"scales": True}})):
        (tmp_path / task).mkdir()
        source = write_data(tmp_path / task, task)
        outcomes = []
        for workers in (0, 2):
            out = tmp_path / f"{task}-{workers}"
            concord.train(tables(task, source, data={"workers": workers}, epochs=1, **more), out)
            outcomes.append(outcome(out))
        assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("task", TASKS)
def test_members_start_alike_whoever_stands_beside_them(task, tmp_path):
    source = write_data(tmp_path, task)
    for name, members in (("both", MEMBERS[task]), ("alone", {"b": MEMBERS[task]["b"]})):
        concord.train(tables(task, source, members, epochs=1, consensus={}), tmp_path / name)
    one, other = (last_weights(tmp_path / name, "b") for name in ("both", "alone"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


CHANGES = {
    "segment": [
        {"augment": {"flip": True}},
        {"augment": {"deform": 3.0}},
        {"augment": {"turn": True}},
        {"augment": {"brightness": 0.5}},
        {"segment": {"border": 10.0, "sigma": 2.0}},
        {"segment": {"border": 10.0, "sigma": 4.0}},
        {"segment": {"border": 10.0, "sigma": 2.0, "objects": "background"}},
        {"consensus": {"cost": "kl", "weight": 0.1}},
        {"consensus": {"cost": "none"}},
        {"data": {"size": 24}},
        {"data": {"limit": 3}},
    ],
    "detect": [
        *(
            {"augment": {key: 0.4}}
            for key in ("jitter", "mosaic", "brightness", "contrast", "saturation", "hue")
        ),
        {"augment": {"flip": True}},
        {"detect": {"scales": True}},
        {"detect": {"direct": False}},
        {"detect": {"anchors": "network"}},
        {"detect": {"ignore": 0.05}},
        {"consensus": {"cost": "kl", "weight": 0.1}},
        {"consensus": {"cost": "none"}},
        {"data": {"size": 96}},
        {"data": {"limit": 3}},
    ],
}


@pytest.mark.parametrize("task", TASKS)
def test_every_setting_changes_what_is_learned(task, data, tmp_path):
    """Each training differs from the plain one and from all others, so that no setting is lost on its way."""
    seen = {}
    for number, change in enumerate([{}, *CHANGES[task]]):
        concord.train(tables(task, data[task], **change, epochs=1), tmp_path / str(number))
        key = str(outcome(tmp_path / str(number))[1])
        assert key not in seen, (change, seen.get(key))
        seen[key] = change


VERSIONS = {
    "v1": ["yolo_small_v1(width=2,cells=4)", "yolo_small_v1(width=3,cells=4)"],
    "v2": ["yolo_small_v2(width=2,boxes=3)", "yolo_small_v2(width=3,boxes=3)"],
    "v3": ["yolo_small_v3(width=2)", "yolo_small_v3(width=3)"],
}


@pytest.mark.parametrize("version", VERSIONS)
def test_pairs_of_every_version_learn_together(version, data, tmp_path):
    members = dict(zip("ab", VERSIONS[version], strict=True))
    run = concord.train(
        tables("detect", data["detect"], members, epochs=6, optimizer={"kind": "adam", "lr": 0.01}),
        tmp_path / "run",
    )
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    for name in members:
        first, *_, last = (row["train"]["members"][name]["loss"] for row in rows)
        assert last < 0.8 * first
        assert run.result.members[name].loss == pytest.approx(run.evaluate().members[name].loss)


def test_v_rand_is_scored_for_the_class_of_the_objects(data, tmp_path):
    found = {}
    for objects in ("disc", "background"):
        settings = tables("segment", data["segment"], segment={"objects": objects}, epochs=1)
        run = concord.train(settings, tmp_path / objects)
        found[objects] = run.result.members["a"].v_rand
        assert 0 < found[objects] <= 1
        assert run.evaluate().members["a"].v_rand == pytest.approx(found[objects])
    assert found["disc"] != found["background"]


def test_other_data_are_scored_whole_with_the_classes_of_the_run(made, tmp_path, capsys):
    other = made_of.masks(tmp_path / "other", count=4)
    status, out, err = call(capsys, "eval", made["segment"], "--data", other, "--json")
    assert (status, "4 pictures are scored" in err) == (0, True), err
    rows = concord.predict(made["segment"], other / "images", member="a")
    wrong = pixels = 0
    for row in rows:
        mask = np.asarray(Image.open(str(row.file).replace("images", "masks")))
        wrong, pixels = wrong + (row.classes.numpy() != mask).sum(), pixels + mask.size
    assert json.loads(out)["members"]["a"]["error"] == pytest.approx(wrong / pixels, abs=1e-9)
    boxed = made_of.boxes(tmp_path / "boxed", "yolo", count=5)
    status, out, err = call(capsys, "eval", made["detect"], "--data", boxed, "--json")
    assert (status, "5 pictures are scored" in err) == (0, True), err


def test_anchors_that_the_boxes_cannot_give_are_refused_with_what_to_do(data, tmp_path, capsys):
    line = [
        "train",
        "--task",
        "detect",
        "--data",
        data["detect"],
        "--members",
        "yolo_small_v3(width=2,boxes=9)",
    ]
    line += ["--out", tmp_path / "run", "--set", "data.size=64", "--epochs", 1, "--set", "data.limit=4"]
    status, _, err = call(capsys, *line)
    assert (status, "18 anchors need 18 boxes of different sizes" in err) == (3, True), err
    assert "detect.anchors=network" in err
    assert not (tmp_path / "run").exists()
    status, _, err = call(capsys, *line, "--set", "detect.anchors=network")
    assert status == 0, err


def test_every_task_has_members_that_fit_if_none_are_named(data, tmp_path, capsys):
    for task in TASKS:
        out, size = tmp_path / task, {"segment": 16, "detect": 64}[task]
        line = ["train", "--task", task, "--data", data[task], "--epochs", 1, "--set", f"data.size={size}"]
        line += ["--set", "data.limit=4", "--out", out]
        status, _, err = call(capsys, *line)
        assert (status, "no members were named" in err) == (0, True), err
        assert list(result_of(out)["members"]) == ["narrow", "wide"]


LINES = {
    "segment": r"valid error %: a \d+\.\d\d  b \d+\.\d\d  ensemble \d+\.\d\d  agreement \d+\.\d  \d+ ",
    "detect": r"valid AP at \.5 %: a \d+\.\d\d  b \d+\.\d\d  ensemble \d+\.\d\d  \d+ samples/s",
}
UNVALIDATED = {
    "segment": r"train error %: a \d+\.\d\d  b ",
    "detect": r"train loss: a \d+\.\d\d  b \d+\.\d\d  \d+ ",
}


@pytest.mark.parametrize("task", TASKS)
def test_a_line_of_every_epoch_has_the_figure_of_the_task(task, data, tmp_path, capsys):
    members = ",".join(f"{name}={network}" for name, network in MEMBERS[task].items())
    line = ["train", "--task", task, "--data", data[task], "--members", members, "--epochs", 2]
    line += ["--set", f"data.size={16 if task == 'segment' else 64}", "--set", "data.workers=0"]
    status, _, err = call(capsys, *line, "--out", tmp_path / "run")
    assert status == 0, err
    assert len(re.findall(rf"epoch   [12]/2  {LINES[task]}", err)) == 2, err
    rows = [json.loads(row) for row in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    share = rows[-1]["valid"]["ensemble"]["error" if task == "segment" else "ap50"]
    assert f"ensemble {100 * share:.2f}" in err.splitlines()[-1]
    status, _, err = call(capsys, *line, "--set", "data.valid=0", "--out", tmp_path / "bare")
    assert status == 0, err
    assert len(re.findall(rf"epoch   [12]/2  {UNVALIDATED[task]}", err)) == 2, err


def test_figures_without_a_test_part_are_announced(data, tmp_path, capsys):
    for task in TASKS:
        members = MEMBERS[task]["a"]
        line = ["train", "--task", task, "--data", data[task], "--epochs", 1, "--members", members]
        line += ["--set", f"data.size={32 if task == 'detect' else 16}", "--set", "data.test=0"]
        status, _, err = call(capsys, *line, "--out", tmp_path / task)
        assert (status, "test figures are those of the validation data" in err) == (0, True), err
        row = next(iter(result_of(tmp_path / task)["members"].values()))
        assert all(nearly(row[key], value) for key, value in row["valid"].items())


@pytest.mark.parametrize("task", TASKS)
def test_training_data_that_are_scored_for_want_of_others_are_scored_whole(task, data, tmp_path):
    settings = tables(task, data[task], data={"valid": 0.0, "test": 0.0}, epochs=1)
    run = concord.train(settings, tmp_path / "run")
    again = run.evaluate().to_dict()
    assert nearly(again["members"], run["members"])
    assert run.result.valid is None
    assert "test figures are those of the training data" in run["notices"][-1]


@pytest.mark.parametrize("task", TASKS)
def test_every_member_trains_in_bfloat16(task, data, tmp_path):
    run = concord.train(tables(task, data[task], precision="bfloat16", epochs=1), tmp_path / "run")
    loss = {"segment": "nll", "detect": "loss"}[task]
    assert all(0 < getattr(row, loss) < 1000 for row in run.result.members.values())
    saved = last_weights(tmp_path / "run", "a")
    assert {value.dtype for key, value in saved.items() if "num_batches" not in key} == {torch.float32}
