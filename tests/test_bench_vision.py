"""The benchmarks of masks and boxes: both sides of a comparison compute the same, and JSON has its rows."""

import json

import pytest
import torch

from concord.bench import detect, plain_yolo, segment, vision
from concord.cli import app
from concord.layers.tiles import Tiled
from concord.tasks.detect import Detect
from concord.tasks.detection.fuse import merged, weighted
from concord.tasks.detection.v3 import YoloV3
from concord.zoo.build import build

ANCHORS = (((40.0, 50.0), (80.0, 30.0)), ((10.0, 12.0), (22.0, 20.0)))
HEAD = YoloV3(3, ANCHORS, (16, 8))
HEIGHT, WIDTH = detect.SIZE


def outputs(batch=3):
    torch.manual_seed(1)
    sides = [(HEIGHT // s, WIDTH // s) for s in HEAD.strides]
    return [torch.randn(batch, 2 * 8, *side, dtype=torch.float32, requires_grad=True) for side in sides]


def gradients(loss, maps):
    return torch.autograd.grad(loss, maps)


def test_the_loss_with_loops_is_that_of_the_head_with_the_same_gradients():
    _, target = detect.made(3)
    maps = outputs()
    ours, theirs = HEAD.loss(maps, target).mean(), plain_yolo.loss(HEAD, maps, target)
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=0)
    for own, other in zip(gradients(ours, maps), gradients(theirs, maps), strict=True):
        torch.testing.assert_close(other, own, rtol=1e-4, atol=1e-6)


def test_two_objects_at_one_place_share_their_classes_in_both_losses():
    box = torch.tensor([100.0, 60.0, 138.0, 112.0])
    target = {
        "boxes": torch.stack([box, box + 1])[None],
        "labels": torch.tensor([[0, 2]]),
        "crowd": torch.zeros(1, 2, dtype=torch.bool),
        "difficult": torch.zeros(1, 2, dtype=torch.bool),
    }
    maps = outputs(1)
    ours, theirs = HEAD.loss(maps, target).mean(), plain_yolo.loss(HEAD, maps, target)
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=0)
    (coarse, _) = gradients(theirs, maps)
    pulled = coarse.view(1, 2, 8, *coarse.shape[2:])[0, 0, 5:, 5, 7] < 0
    assert pulled.tolist() == [True, False, True]


@pytest.mark.parametrize("threshold", [0.9, 0.3, 0.005])
def test_plain_suppression_finds_the_same_boxes(threshold):
    maps = [one.detach() for one in outputs()]
    plain = plain_yolo.detections(HEAD, maps, threshold)
    found = Detect(HEAD, threshold=threshold).detections(maps)
    for i, (boxes, scores, labels) in enumerate(plain):
        there = found["labels"][i] >= 0
        assert int(there.sum()) == len(scores)
        torch.testing.assert_close(found["scores"][i][there], scores)
        assert torch.equal(found["labels"][i][there], labels)
        limits = torch.tensor([WIDTH, HEIGHT] * 2)
        cut = boxes.clamp(min=0).minimum(limits)
        torch.testing.assert_close(found["boxes"][i][there], cut, rtol=1e-5, atol=1e-3)


def test_a_call_of_the_training_is_one_update_of_the_plain_loop():
    x, y = torch.rand(4, 1, 16, 16), torch.randint(0, 2, (4, 16, 16))
    network = "unet(width=2,depth=1,same=1,dropout=0)"
    member, plain = segment._member(network), build(network, channels=1, classes=2)
    plain.load_state_dict(member.network.state_dict())
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.5**10, weight_decay=0.0)
    update = vision.training(member, (x, y), segment.Segment(2), 4)
    for _ in range(2):
        update()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(plain(x), y).backward()
        optimizer.step()
    ours, theirs = member.network.head.bias, plain.head.bias
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("network", ["unet(width=2,depth=2,norm=1)", "unet(width=2,depth=2,same=1)"])
def test_one_pass_gives_what_the_tiles_give(network):
    member = segment._member(network)
    small = Tiled(member.network, largest=104).eval()
    x = torch.rand(1, 1, 150, 131)
    with torch.no_grad():
        whole = member.eval().network(segment.whole(x, member))[..., :150, :131]
        torch.testing.assert_close(small(x), whole, rtol=0, atol=1e-5)


def test_members_of_masks_and_boxes_lie_in_channels_last_memory():
    weight = segment._member("unet(width=2,depth=1,same=1)").network.down[1][0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def called(capsys, *arguments):
    with pytest.raises(SystemExit, match="0"):
        app.main(["bench", *arguments, "--rounds", "1"])
    return capsys.readouterr().out


def test_the_rows_of_detect_are_as_promised_and_threads_are_put_back(capsys, monkeypatch):
    monkeypatch.setattr(detect, "NETWORK", "yolo_small_v3(width=2)")
    monkeypatch.setattr(detect, "PICTURES", 4)
    monkeypatch.setattr(detect, "BATCH", 2)
    threads = torch.get_num_threads()
    found = json.loads(called(capsys, "detect", "--json"))
    assert torch.get_num_threads() == threads
    engines = {"train": ["concord", "plain", "plain_loop", "channels_last"]}
    engines["predict"] = ["concord", "plain", "channels_last"]
    assert [(row["case"], row["engine"]) for row in found["rows"]] == [
        (case, engine) for case, names in engines.items() for engine in names
    ]
    rates = {(row["case"], row["engine"]): row for row in found["rows"]}
    for (case, _), row in rates.items():
        ours = rates[case, "concord"]["images_per_second"]
        assert row["concord_over"] == pytest.approx(ours / row["images_per_second"])


def test_the_rows_of_segment_are_as_promised_and_its_table_names_the_tiles(capsys, monkeypatch):
    for name, network in (("NETWORK", "unet(width=2,depth=2,same=1)"), ("VALID", "unet(width=2,depth=2)")):
        monkeypatch.setattr(segment, name, network)
    for name, value in (("PICTURES", 4), ("BATCH", 2), ("SIDE", 32)):
        monkeypatch.setattr(segment, name, value)
    found = json.loads(called(capsys, "segment", "--side", "600", "--json"))
    assert [(row["case"], row["engine"], row.get("padding")) for row in found["rows"]] == [
        *(("train", engine, None) for engine in ("concord", "plain", "channels_last")),
        *(("predict", engine, None) for engine in ("concord", "plain", "channels_last")),
        *(("tiles", engine, "same") for engine in ("concord", "one_pass")),
        *(("tiles", engine, "valid") for engine in ("concord", "one_pass")),
    ]
    assert all(row["images_per_second"] > 0 for row in found["rows"])
    assert found["tiles"]["same"] == {"count": 4, "side": 324}
    out = called(capsys, "segment", "--side", "600")
    assert "600x600 pixels, same padding: 4 tiles of 324x324, one by one" in out


# what was made faster still computes the same


def test_an_ensemble_of_one_has_the_figures_of_its_member():
    task, x = segment.Segment(3), torch.randn(2, 3, 9, 7)
    y = torch.randint(-1, 3, (2, 9, 7))
    scores = task.scores(task.tally([x], [y]), ["one"])
    assert scores.ensemble == scores.members["one"]
    counted = y != -1
    nats = torch.nn.functional.cross_entropy(x.double(), y, ignore_index=-1)
    assert scores.ensemble.nll == pytest.approx(float(nats))
    assert scores.ensemble.error == pytest.approx(float((x.argmax(1) != y)[counted].double().mean()))


def found(*rows):
    """Detections of one image: (x1, y1, x2, y2), score, label."""
    boxes, scores, labels = zip(*rows, strict=True)
    return {
        "boxes": torch.tensor([boxes], dtype=torch.float32),
        "scores": torch.tensor([scores]),
        "labels": torch.tensor([labels]),
    }


FILLING = ((0, 0, 0, 0), 0.0, -1)


def test_fusion_keeps_classes_apart_and_suppression_passes_over_rows_that_only_fill_up():
    box, near, far = (0, 0, 10, 10), (1, 0, 11, 10), (50, 50, 70, 60)
    first = found((box, 0.9, 0), FILLING, FILLING)
    second = found((near, 0.8, 1), (far, 0.5, 0), FILLING)
    apart = weighted([first, second], 4)
    assert apart["labels"].tolist() == [[0, 1, 0, -1]]
    assert apart["boxes"][0, :3].tolist() == [list(map(float, one)) for one in (box, near, far)]
    together = merged([first, second], 4)  # rows that only fill up stand between those of the members
    assert together["labels"].tolist() == [[0, 1, 0, -1]]
    assert together["boxes"][0, :3].tolist() == [list(map(float, one)) for one in (box, near, far)]
    assert merged([found(FILLING), found(FILLING)], 2)["labels"].tolist() == [[-1, -1]]
