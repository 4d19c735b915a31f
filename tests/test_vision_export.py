"""Exported members of runs of masks and boxes: what onnxruntime says, worked out by hand beside it."""

import json

import numpy as np
import pytest
import torch
import vision_runs_made as made_of
from PIL import Image
from run_made import call
from safetensors import safe_open
from safetensors.torch import load_file
from vision_runs_made import CLASSES, MEMBERS, TASKS, tables, train, write_data

import concord
from concord.runs.vision.export_check import between_boxes
from concord.runs.vision.loading import load_run
from concord.zoo.build import build

runtime = pytest.importorskip("onnxruntime", reason="needs the extra export")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folders = {task: tmp_path_factory.mktemp(task) for task in TASKS}
    more = {"epochs": 20, "optimizer": {"kind": "adam", "lr": 0.01}}
    return {task: train(folder, task, **more) for task, folder in folders.items()}


def exported(capsys, run, to, member=None):
    line = ["export", run, "--to", to, "--json"] + (["--member", member] if member else [])
    status, out, err = call(capsys, *line)
    assert status == 0, err
    return json.loads(out)


def session(file):
    return runtime.InferenceSession(file, providers=["CPUExecutionProvider"])


def noise(*shape):
    return np.random.default_rng(shape).integers(0, 256, shape, dtype=np.uint8)


def raw(run, name, pixels):
    """What a member gives for pixels as they are stored; normalised by the numbers of interface.json."""
    described = json.loads((run / "interface.json").read_text())
    mean, std = (np.array(described[key], np.float32).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    network = load_run(run).members[name]
    with torch.no_grad():
        return getattr(network, "network", network)(torch.from_numpy((pixels - mean) / std))


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("names", [("a",), ("a", "b")])
def test_an_onnx_file_gives_the_mean_probabilities_of_masks_on_any_size(names, made, tmp_path, capsys):
    run = made["segment"]
    file = tmp_path / "m.onnx"
    document = exported(capsys, run, file, names[0] if len(names) == 1 else None)
    assert document["largest_difference"] < 1e-4
    for batch, height, width in ((1, 24, 32), (3, 40, 20), (2, 64, 100)):
        pixels = noise(batch, 1, height, width)
        (found,) = session(file).run(None, {"pixels": pixels})
        expected = np.mean([softmax(raw(run, name, pixels).numpy()) for name in names], 0)
        assert found.shape == (batch, 2, height, width)
        assert found == pytest.approx(expected, abs=1e-5)
    picture = noise(28, 36)
    Image.fromarray(picture).save(tmp_path / "p.png")
    (row,) = concord.predict(run, tmp_path / "p.png", member=names[0] if len(names) == 1 else "ensemble")
    (found,) = session(file).run(None, {"pixels": picture[None, None]})
    assert np.array_equal(found[0].argmax(0), row.classes.numpy())


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def boxes_v3(maps, anchors, strides, size):
    """Boxes of a picture by the formulas of YOLO v3, one cell after the other: (K scores, corners)."""
    rows = []
    for found, own, stride in zip(maps, anchors, strides, strict=True):
        grid = found.reshape(len(own), -1, *found.shape[1:])
        for a, (w, h) in enumerate(own):
            for i in range(found.shape[1]):
                for j in range(found.shape[2]):
                    t = grid[a, :, i, j]
                    x, y = (j + sigmoid(t[0])) * stride, (i + sigmoid(t[1])) * stride
                    half = w * np.exp(t[2]) / 2, h * np.exp(t[3]) / 2
                    corners = (x - half[0], y - half[1], x + half[0], y + half[1])
                    rows.append((sigmoid(t[4]) * sigmoid(t[5:]), corners))
    return rows


def boxes_v1(numbers, cells, boxes, classes, size):
    """The same of YOLO v1, whose numbers are class shares, confidences, then boxes of all cells."""
    shares, confidences, places = np.split(numbers, [cells**2 * classes, cells**2 * (classes + boxes)])
    rows = []
    for cell in range(cells**2):
        for b in range(boxes):
            x, y, w, h = places.reshape(cells**2, boxes, 4)[cell, b]
            x, y = (x + cell % cells) / cells * size[1], (y + cell // cells) / cells * size[0]
            w, h = w**2 * size[1] / 2, h**2 * size[0] / 2
            scores = confidences.reshape(cells**2, boxes)[cell, b] * shares.reshape(cells**2, classes)[cell]
            rows.append((scores, (x - w, y - h, x + w, y + h)))
    return rows


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def suppressed(rows, size, least=0.05, most=0.45):
    """Within each class the surest first, and no other that overlaps it by more."""
    found = []
    for k in range(len(rows[0][0])):
        kept = []
        for score, corners in sorted(((s[k], c) for s, c in rows if s[k] >= least), reverse=True):
            if all(overlap(corners, other) <= most for _, other in kept):
                kept.append((score, corners))
        limits = (size[1], size[0]) * 2
        found += [
            (k, s, *(min(max(v, 0), limit) for v, limit in zip(c, limits, strict=True))) for s, c in kept
        ]
    return sorted(found, key=lambda row: -row[1])


def by_hand(run, name, pixels):
    """Boxes of every picture: (class, score, corners), surest first."""
    network, size = load_run(run).members[name], pixels.shape[2:]
    output = raw(run, name, pixels)
    for i in range(len(pixels)):
        if network.version == 1:
            rows = boxes_v1(output[i].numpy(), network.cells, network.boxes, network.classes, size)
        else:
            rows = boxes_v3([part[i].numpy() for part in output], network.anchors, network.strides, size)
        yield suppressed(rows, size)


def compared(file, run, name, pixels):
    """Asserts that a file gives the boxes worked out by hand; gives their number."""
    boxes, scores, labels, images = session(file).run(None, {"pixels": pixels})
    for i, expected in enumerate(by_hand(run, name, pixels)):
        here = images == i
        found = np.column_stack([labels[here], scores[here], boxes[here]])
        assert found == pytest.approx(np.array(expected).reshape(-1, 6), abs=1e-3, rel=1e-4)
    assert (np.diff(scores) <= 0).all()
    return len(boxes)


@pytest.mark.parametrize("name", ["a", "b"])
def test_an_onnx_file_gives_the_boxes_of_the_formulas_on_three_sizes(name, made, tmp_path, capsys):
    run, file = made["detect"], tmp_path / "m.onnx"
    assert exported(capsys, run, file, name)["largest_difference"] < 1e-3
    picture = np.stack([made_of.rectangles(50 + i)[0].transpose(2, 0, 1) for i in range(2)])
    assert compared(file, run, name, picture) > 2
    assert compared(file, run, name, noise(1, 3, 64, 48)) > 0
    assert compared(file, run, name, np.tile(picture, (1, 1, 3, 2))) > 4
    Image.fromarray(made_of.rectangles(50)[0]).save(tmp_path / "p.png")
    (row,) = concord.predict(run, tmp_path / "p.png", member=name, score=0.05)
    expected = next(by_hand(run, name, picture[:1]))
    assert [box.label for box in row.boxes] == [CLASSES["detect"][k] for k, *_ in expected]
    found = np.array([(box.confidence, *box.corners) for box in row.boxes])
    assert found == pytest.approx(np.array([rest for _, *rest in expected]), abs=1e-3, rel=1e-4)


def test_version_1_is_exported_for_its_own_size(tmp_path, capsys):
    source = write_data(tmp_path, "detect")
    members = {"a": "yolo_small_v1(width=3,cells=4)"}
    run = concord.train(
        tables("detect", source, members, epochs=25, optimizer={"lr": 0.01}), tmp_path / "run"
    ).path
    file = tmp_path / "m.onnx"
    exported(capsys, run, file)
    pictures = np.stack([made_of.rectangles(50 + i)[0].transpose(2, 0, 1) for i in range(3)])
    assert compared(file, run, "a", pictures) > 0
    assert session(file).get_inputs()[0].shape[1:] == [3, 32, 64]


def test_an_exported_program_of_torch_gives_the_same(made, tmp_path, capsys):
    for task, pixels in (("segment", noise(2, 1, 40, 20)), ("detect", noise(2, 3, 64, 48))):
        exported(capsys, made[task], tmp_path / "m.pt2", "b")
        program = torch.export.load(tmp_path / "m.pt2").module()
        found = program(torch.from_numpy(pixels))
        if task == "segment":
            expected = softmax(raw(made[task], "b", pixels).numpy())
            assert found.detach().numpy() == pytest.approx(expected, abs=1e-5)
        else:
            boxes = np.column_stack([part.detach().numpy() for part in (found[2], found[1], found[0])])
            rows = [row for picture in by_hand(made[task], "b", pixels) for row in picture]
            rows.sort(key=lambda row: -row[1])
            assert boxes == pytest.approx(np.array(rows).reshape(-1, 6), abs=1e-3, rel=1e-4)


@pytest.mark.parametrize("task", TASKS)
def test_safetensors_fill_a_new_network_of_the_zoo(task, made, tmp_path, capsys):
    exported(capsys, made[task], tmp_path / "m.safetensors", "b")
    channels, shape = (1, (2, 1, 24, 32)) if task == "segment" else (3, (2, 3, 32, 64))
    network = build(MEMBERS[task]["b"], channels=channels, classes=2)
    network.load_state_dict(load_file(tmp_path / "m.safetensors"))
    network.eval()
    described = json.loads((made[task] / "interface.json").read_text())
    mean, std = (torch.tensor(described[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    pixels = noise(*shape)
    with torch.no_grad():
        found = network((torch.from_numpy(pixels) - mean) / std)
    expected = raw(made[task], "b", pixels)
    for one, other in zip(*((x,) if task == "segment" else x for x in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    with safe_open(tmp_path / "m.safetensors", "np") as file:
        about = file.metadata()
    assert json.loads(about["classes"]) == list(CLASSES[task])
    assert about["task"] == task


def test_networks_without_padding_are_exported_as_they_are_and_predict_any_size(tmp_path, capsys):
    source = write_data(tmp_path, "segment")
    members = {"a": "unet(width=2,depth=1)", "b": "unet(width=3,depth=1)"}
    run = concord.train(
        tables("segment", source, members, data={"size": 20}, epochs=8), tmp_path / "run"
    ).path
    assert len(concord.Run(run).evaluate().members["a"].class_dice) == 2
    for member, names in (("a", ("a",)), (None, ("a", "b"))):
        file = tmp_path / "m.onnx"
        exported(capsys, run, file, member)
        for batch, height, width in ((1, 20, 20), (2, 32, 24), (1, 50, 66)):
            pixels = noise(batch, 1, height, width)
            (found,) = session(file).run(None, {"pixels": pixels})
            assert found.shape == (batch, 2, height - 16, width - 16)
            expected = np.mean([softmax(raw(run, name, pixels).numpy()) for name in names], 0)
            assert found == pytest.approx(expected, abs=1e-5)
    picture = noise(31, 47)
    Image.fromarray(picture).save(tmp_path / "p.png")
    (row,) = concord.predict(run, tmp_path / "p.png")
    around = np.pad(picture, ((8, 8 + 1), (8, 8 + 1)), mode="reflect")[None, None]  # sides 2 k - 4
    (found,) = session(tmp_path / "m.onnx").run(None, {"pixels": around})
    assert np.array_equal(found[0].argmax(0)[:31, :47], row.classes.numpy())


def rows(*boxes):
    """Boxes as they are compared: corners, score, class and picture, far apart."""
    return torch.tensor(boxes)


def test_boxes_are_compared_but_for_few_of_which_rounding_decides():
    one, other = [0.1, 0.1, 0.3, 0.3, 0.9, 0.0, 0.0], [0.6, 0.6, 0.9, 0.9, 0.5, 10.0, 0.0]
    moved = [0.6, 0.6, 0.9, 0.9001, 0.5, 10.0, 0.0]
    assert between_boxes(rows(one, other), rows(moved, one)).item() == pytest.approx(1e-4, rel=1e-2)
    near = [0.15, 0.1, 0.35, 0.3, 0.7, 0.0, 0.0]  # overlaps the first by more than .45
    unsure = [0.4, 0.4, 0.5, 0.5, 0.0501, 0.0, 0.0]
    for more in (near, unsure):
        assert between_boxes(rows(one, other, more), rows(one, other)).item() == 0
        assert between_boxes(rows(one, other), rows(one, more, other)).item() == 0
    sure, elsewhere = [0.4, 0.4, 0.5, 0.5, 0.5, 0.0, 0.0], [*near[:5], 10.0, 0.0]
    for more in (sure, elsewhere):
        assert between_boxes(rows(one, other, more), rows(one, other)).item() > 0.05
    assert between_boxes(rows(one, near, unsure), rows(one)).item() == float("inf")  # more than few
    assert between_boxes(rows(one), torch.zeros(0, 7)).item() == float("inf")
    assert between_boxes(torch.zeros(0, 7), torch.zeros(0, 7)).item() == 0


@pytest.mark.parametrize("network", ["unet(width=2,depth=3,same=1,norm=1)", "unet(width=2,depth=3)"])
def test_deep_networks_are_exported_too(network, tmp_path, capsys):
    source = write_data(tmp_path, "segment")
    size = 32 if "same" in network else 92
    settings = tables("segment", source, {"a": network}, data={"size": size}, epochs=1)
    run = concord.train(settings, tmp_path / "run").path
    exported(capsys, run, tmp_path / "m.onnx")
    pixels = noise(2, 1, size + 8, size + 24)
    (found,) = session(tmp_path / "m.onnx").run(None, {"pixels": pixels})
    assert found == pytest.approx(softmax(raw(run, "a", pixels).numpy()), abs=1e-5)


REFUSED = {
    "boxes of all": ("detect", ["--to", "e.onnx"], "boxes are exported of one member: name one of a, b"),
    "weights of all": ("segment", ["--to", "e.safetensors"], "of one member: name one of a, b"),
    "another ending": ("segment", ["--to", "e.pth"], ".onnx"),
    "a member that there is not": ("detect", ["--to", "e.onnx", "--member", "c"], "'c'"),
    "a script": ("segment", ["--to", "e.onnx", "--script", "e.py"], "only a classifier of pictures has one"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_exported_is_refused_and_nothing_is_written(kind, made, tmp_path, capsys, monkeypatch):
    task, line, words = REFUSED[kind]
    monkeypatch.chdir(tmp_path)
    status, _, err = call(capsys, "export", made[task], *line)
    assert (status, words in " ".join(err.split())) == (2, True), err
    assert list(tmp_path.iterdir()) == []
