"""Images with boxes as a data set: one canvas, boxes that move along, parts, changes, sizes."""

import pickle
from dataclasses import replace

import boxes_made as made
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from concord.data.dataset import Draw
from concord.data.detection.augment import BoxAugment, remaining
from concord.data.detection.boxed import BoxedImages, padded, unmarked
from concord.data.detection.load import Wanted, load
from concord.data.detection.place import Place, canvas_of
from concord.data.detection.read import Sample, Truth
from concord.data.detection.scales import rescaled, side_of
from concord.data.loader import Loader
from concord.data.loader import Wanted as Batches
from concord.errors import DataError, ShapeError, UsageError

SIDES = st.integers(1, 700)


def truth_of(boxes, labels=None):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    labels = torch.tensor(labels if labels is not None else [0] * len(boxes), dtype=torch.int64)
    return Truth(
        boxes, labels, torch.zeros(len(boxes), dtype=torch.bool), torch.zeros(len(boxes), dtype=torch.bool)
    )


def blocks(folder, count=6, size=(96, 64)):
    """Black images, each with one bright block, which its box encloses."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for i in range(count):
        x, y, w, h = 8 + 9 * i, 6 + 4 * i, 22 + 2 * i, 18 + i
        pixels = np.zeros((size[1], size[0], 3), np.uint8)
        pixels[y : y + h, x : x + w] = (250, 240, 20)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        samples.append(
            Sample(folder / f"{i}.png", f"{i}.png", size, truth_of([[x, y, x + w, y + h]]), mark=i)
        )
    return BoxedImages(tuple(samples), ("block",), canvas_of([size], 96))


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return load(Wanted(str(made.bccd(tmp_path_factory)), size=320))


# canvas


def test_the_canvas_is_the_smallest_that_holds_every_image_at_the_size():
    assert canvas_of([(640, 480)], 416) == (320, 416)  # 416 x 312
    assert canvas_of([(640, 480), (480, 640)], 416) == (416, 416)
    assert canvas_of([(100, 20), (640, 480)], 160, multiple=16) == (128, 160)
    assert canvas_of([(1, 1000)], 64) == (64, 32)


@pytest.mark.parametrize("side", [0, 400, 33, 8192])
def test_a_size_that_is_not_a_multiple_is_refused_with_the_nearest(side):
    with pytest.raises(UsageError, match="must be a multiple of 32 up to 4096"):
        canvas_of([(640, 480)], side)
    with pytest.raises(UsageError, match="got 400: use 384"):
        canvas_of([(640, 480)], 400)


def test_a_box_moves_with_its_image_by_hand():
    place = Place.of((640, 480), (320, 416))  # scaled by .65 to 416 x 312, 4 rows of grey above
    assert (place.width, place.height, place.left, place.top) == (416, 312, 0, 4)
    moved = place.moved(torch.tensor([[100.0, 40.0, 300.0, 480.0]]))
    assert moved.tolist() == [[pytest.approx(v) for v in (65, 30, 195, 316)]]


@given(st.tuples(SIDES, SIDES), st.integers(1, 8), st.integers(1, 8), st.data())
def test_restoring_undoes_moving_and_every_image_lies_on_the_canvas(file, rows, columns, data):
    canvas = (32 * rows, 32 * columns)
    place = Place.of(file, canvas)
    assert place.left >= 0 <= place.top
    assert place.left + place.width <= canvas[1]
    assert place.top + place.height <= canvas[0]
    x = sorted(data.draw(st.tuples(st.floats(0, file[0]), st.floats(0, file[0]))))
    y = sorted(data.draw(st.tuples(st.floats(0, file[1]), st.floats(0, file[1]))))
    box = torch.tensor([x[0], y[0], x[1], y[1]], dtype=torch.float64)
    assert torch.allclose(place.restored(place.moved(box)), box, atol=1e-6)


def test_what_lies_beyond_the_file_is_clipped_when_boxes_are_restored():
    place = Place.of((640, 480), (416, 416))
    assert place.restored(torch.tensor([-5.0, 0.0, 500.0, 500.0])).tolist() == [0, 0, 640, 480]


# batches


def test_the_block_in_the_pixels_is_where_the_box_says(tmp_path):
    x, target = blocks(tmp_path).batch(torch.tensor([4, 1]), None)
    assert x.dtype == torch.uint8
    assert x.shape == (2, 3, 64, 96)
    for pixels, (box,) in zip(x, target["boxes"].tolist(), strict=True):
        ys, xs = torch.nonzero(pixels[0] > 128, as_tuple=True)
        assert box == [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


def test_grey_lies_around_an_image_of_other_proportions_and_its_box_moves_along(tmp_path):
    data = replace(blocks(tmp_path), canvas=(192, 192), held=None)
    x, target = data.batch(torch.tensor([2]), None)
    assert (x[0, :, :32] == 128).all()
    assert (x[0, :, 160:] == 128).all()
    assert (x[0, :, 32:160] != 128).any()
    assert target["boxes"][0].tolist() == [[52, 60, 104, 100]]  # (26, 14, 52, 34) doubled, 32 rows down
    assert data.restore(target["boxes"][0, 0], 2).tolist() == [26, 14, 52, 34]


def test_rows_behind_the_objects_are_filling_and_there_is_always_one():
    two, none = truth_of([[1, 2, 3, 4], [5, 6, 7, 8]], [1, 0]), truth_of([])
    target = padded([two, none])
    assert target["labels"].tolist() == [[1, 0], [-1, -1]]
    assert target["boxes"].tolist() == [[[1, 2, 3, 4], [5, 6, 7, 8]], [[0] * 4] * 2]
    empty = padded([none, none])
    assert empty["labels"].tolist() == [[-1], [-1]]
    assert {key: (tuple(value.shape), value.dtype) for key, value in empty.items()} == {
        "boxes": ((2, 1, 4), torch.float32),
        "labels": ((2, 1), torch.int64),
        "crowd": ((2, 1), torch.bool),
        "difficult": ((2, 1), torch.bool),
    }


def test_pixels_are_pillows_scaled_image_also_of_a_large_turned_jpeg(tmp_path):
    rows, columns = np.mgrid[:1200, :1600]
    squares = 60 * ((rows // 40 + columns // 40) % 2)
    pixels = (np.stack([rows, columns, (rows + columns) / 2], -1) / 9 + squares[..., None]).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees: 1200 wide, 1600 high
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95, exif=exif)
    data = unmarked([tmp_path / "a.jpg"], ("x",), (640, 512))
    assert data.samples[0].size == (1200, 1600)
    x, target = data.batch(torch.tensor([0]), None)
    expected = (
        Image.fromarray(pixels)
        .transpose(Image.Transpose.ROTATE_270)
        .resize((480, 640), Image.Resampling.BILINEAR)
    )
    difference = x[0, :, :, 16:496].int() - torch.from_numpy(np.array(expected)).permute(2, 0, 1).int()
    assert difference.abs().float().mean() < 1.5  # JPEG, and its own way of halving
    assert target["labels"].tolist() == [[-1]]


def test_members_see_numbers_from_0_to_1(tmp_path):
    data = blocks(tmp_path)
    seen = data.spec.normalise(data.batch(torch.tensor([0]), None)[0])
    assert float(seen.max()) == pytest.approx(250 / 255)
    assert float(seen.min()) == 0


def test_workers_give_the_same_batches_and_a_copy_in_another_process_is_the_same_set(tmp_path):
    data = replace(blocks(tmp_path), augment=BoxAugment(flip=True, jitter=0.2, brightness=0.2))
    wanted = [Batches("train", torch.tensor(index), Draw(3, 1)) for index in ([0, 1], [5, 2], [3, 4])]
    here = list(Loader({"train": data}).batches(wanted))
    loader = Loader({"train": data}, workers=1)
    there = list(loader.batches(wanted))
    loader.close()
    for (x, target), (x2, target2) in zip(here, there, strict=True):
        assert torch.equal(x, x2)
        assert all(torch.equal(target[key], target2[key]) for key in target)
    again = pickle.loads(pickle.dumps(data))
    assert again.fingerprint == data.fingerprint
    assert torch.equal(
        again.batch(torch.tensor([1]), Draw(3, 1))[0], data.batch(torch.tensor([1]), Draw(3, 1))[0]
    )


def test_the_fingerprint_changes_with_boxes_files_classes_and_canvas_not_with_names(tmp_path):
    data = blocks(tmp_path)
    first = data.samples[0]
    others = [
        replace(data, canvas=(96, 96), held=None),
        replace(data, classes=("other",)),
        data.some(torch.arange(5)),
        *(
            replace(data, samples=(changed, *data.samples[1:]))
            for changed in (
                replace(first, mark=99),
                replace(first, truth=truth_of([[8, 6, 30, 25]])),
                replace(first, truth=first.truth._replace(difficult=~first.truth.difficult)),
            )
        ),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 7
    renamed = replace(data, samples=(replace(first, name="else"), *data.samples[1:]))
    assert renamed.fingerprint == data.fingerprint


# changes


def test_without_a_draw_nothing_is_random_and_with_one_a_sample_depends_on_seed_epoch_and_number_alone(
    tmp_path,
):
    plain = blocks(tmp_path)
    data = replace(plain, augment=BoxAugment(flip=True, jitter=0.3, mosaic=0.5, contrast=0.3, hue=0.1))
    index = torch.tensor([3, 0])
    assert torch.equal(data.batch(index, None)[0], plain.batch(index, None)[0])
    state = torch.get_rng_state()
    x, target = data.batch(index, Draw(1, 2))
    alone, _ = data.batch(torch.tensor([0]), Draw(1, 2))
    assert torch.equal(x[1:], alone)
    assert torch.equal(torch.get_rng_state(), state)
    for draw in (Draw(1, 3), Draw(2, 2)):
        assert not torch.equal(data.batch(index, draw)[0], x)
    assert torch.equal(data.batch(index, Draw(1, 2))[1]["boxes"], target["boxes"])


@pytest.mark.parametrize("canvas", [(64, 160), (128, 96)])  # grey at the sides, above and below
@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_boxes_still_enclose_the_blocks_after_any_change(mosaic, canvas, tmp_path):
    augment = BoxAugment(flip=True, jitter=0.25, mosaic=mosaic)
    data = replace(blocks(tmp_path), canvas=canvas, augment=augment, held=None)
    seen = 0
    for epoch in range(8):
        x, target = data.batch(torch.arange(6), Draw(0, epoch))
        for pixels, boxes, labels in zip(x, target["boxes"], target["labels"], strict=True):
            bright = (pixels[2] < 74) & (pixels[0] > 180)  # neither black nor grey
            for x1, y1, x2, y2 in boxes[labels >= 0].tolist():
                assert 0 <= x1 < x2 <= canvas[1]
                assert 0 <= y1 < y2 <= canvas[0]
                inside = bright[round(y1) : round(y2), round(x1) : round(x2)]
                assert inside.float().mean() > 0.75
                seen += 1
            for x1, y1, x2, y2 in boxes.round().long().tolist():
                bright[max(0, y1 - 1) : y2 + 1, max(0, x1 - 1) : x2 + 1] = False
            assert bright.sum() < (500 if mosaic else 160)  # what remains of blocks whose box was dropped
    assert seen > 40


def test_what_is_not_moved_is_what_a_window_of_the_whole_canvas_shows(tmp_path):
    data = blocks(tmp_path, size=(96, 40))  # grey above and below, and a box that reaches into it
    beyond = replace(data.samples[0], truth=truth_of([[8, -30, 40, 24], [60, -50, 90, 2]]))
    data = replace(data, samples=(beyond, *data.samples[1:]), canvas=(64, 96), held=None)
    index = torch.arange(6)
    still, moved = (
        replace(data, augment=BoxAugment(jitter=share)).batch(index, Draw(0, 0)) for share in (0.0, 1e-9)
    )
    assert (still[0].int() - moved[0].int()).abs().max() <= 1  # Pillow cuts off what is behind the point
    assert torch.equal(still[1]["labels"], moved[1]["labels"])
    torch.testing.assert_close(still[1]["boxes"], moved[1]["boxes"], rtol=0, atol=1e-4)
    assert still[1]["boxes"][0, 0, 1] == 0  # cut off


def test_a_flip_is_that_of_torchvision(tmp_path):
    data = blocks(tmp_path)
    turned = replace(data, augment=BoxAugment(flip=True))
    x, target = data.batch(torch.arange(6), None)
    flips = 0
    for i in range(6):
        x2, target2 = turned.batch(torch.tensor([i]), Draw(0, 0))
        if torch.equal(x2[0], x[i]):
            continue
        boxes = tv_tensors.BoundingBoxes(target["boxes"][i], format="XYXY", canvas_size=(64, 96))
        assert torch.equal(x2[0], F.horizontal_flip(x[i]))
        assert torch.equal(target2["boxes"][0], F.horizontal_flip(boxes).as_subclass(torch.Tensor))
        flips += 1
    assert 0 < flips < 6


def test_a_box_is_kept_where_a_quarter_of_it_remains():
    boxes = torch.tensor(
        [[-30.0, 0.0, 10.0, 20.0], [-31.0, 0.0, 10.0, 20.0], [90.0, 10.0, 97.0, 11.5], [2.0, 3.0, 9.0, 8.0]]
    )
    kept = remaining(truth_of(boxes.tolist(), [0, 1, 2, 3]), boxes, (64, 96))
    assert kept.labels.tolist() == [0, 3]
    assert kept.boxes.tolist() == [[0, 0, 10, 20], [2, 3, 9, 8]]


def test_shares_of_flips_and_mosaics_are_those_asked_for(tmp_path):
    data = replace(blocks(tmp_path), augment=BoxAugment(mosaic=0.25))
    plain = blocks(tmp_path)
    same = sum(
        torch.equal(data.batch(torch.tensor([1]), Draw(0, epoch))[0], plain.batch(torch.tensor([1]), None)[0])
        for epoch in range(80)
    )
    assert 50 <= same <= 70


@pytest.mark.parametrize("wrong", [{"jitter": 0.5}, {"mosaic": 1.1}, {"hue": 0.6}, {"brightness": -1}])
def test_changes_that_cannot_be_are_refused(wrong):
    with pytest.raises(UsageError, match=f"augment.{next(iter(wrong))} must be"):
        BoxAugment(**wrong)


# sizes


def test_a_side_holds_for_ten_batches_and_every_side_comes():
    sides = (256, 288, 320)
    drawn = [side_of(5, 2, step, sides) for step in range(600)]
    assert all(len(set(drawn[i : i + 10])) == 1 for i in range(0, 600, 10))
    assert min(drawn.count(side) for side in sides) > 100
    assert drawn != [side_of(5, 3, step, sides) for step in range(600)]
    with pytest.raises(UsageError, match="at least one"):
        side_of(0, 0, 0, ())


def test_boxes_follow_images_to_another_size():
    x = torch.zeros((1, 3, 256, 320), dtype=torch.uint8)
    x[:, :, 64:128, 40:200] = 255
    target = {"boxes": torch.tensor([[[40.0, 64.0, 200.0, 128.0]]]), "labels": torch.tensor([[0]])}
    small, moved = rescaled(x, target, 192)
    assert small.shape == (1, 3, 160, 192)  # 153.6 rows: 160 is the nearest multiple
    assert moved["boxes"][0, 0].tolist() == pytest.approx([24, 40, 120, 80])
    ys, xs = torch.nonzero(small[0, 0] > 127, as_tuple=True)
    assert [int(v) for v in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)] == [24, 40, 120, 80]
    assert moved["labels"] is target["labels"]
    same, unmoved = rescaled(x, target, 320)
    assert same is x
    assert unmoved is target
    with pytest.raises(UsageError, match="multiples of 32, got 200"):
        rescaled(x, target, 200)
    with pytest.raises(ShapeError):
        rescaled(x[0], target, 192)


# parts


def test_the_blood_cells_lie_on_one_canvas_and_their_boxes_on_the_images(cells):
    assert cells.canvas == (256, 320)
    assert (cells.format, cells.own_test) == ("VOC", True)
    assert [len(part) for part in (cells.train, cells.valid, cells.test)] == [205, 87, 72]
    x, target = cells.test.batch(torch.arange(8), None)
    boxes = target["boxes"][target["labels"] >= 0]
    low, high = torch.tensor([0, 8, 0, 8]), torch.tensor([320, 248, 320, 248])
    assert ((boxes >= low) & (boxes <= high)).all()
    assert (x[:, :, 8:248] != 128).float().mean() > 0.95
    restored = cells.test.restore(target["boxes"][3], 3)[target["labels"][3] >= 0]
    assert torch.allclose(restored, cells.test.samples[3].truth.boxes, atol=1e-3)


def test_a_limit_and_parts_that_are_missing_are_drawn_by_the_seed(tmp_path):
    boxes = {f"{i:02}": [("cat", 1, 2, 9, 9)] for i in range(20)}
    root = str(made.voc(tmp_path, boxes))
    parts = load(Wanted(root, size=64))
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [14, 2, 4]
    assert not parts.own_test
    names = [[part.name(i) for i in range(len(part))] for part in (parts.train, parts.valid, parts.test)]
    assert sorted(name for part in names for name in part) == [f"{i:02}.png" for i in range(20)]
    again, other = load(Wanted(root, size=64)), load(Wanted(root, size=64, seed=1))
    assert again.fingerprint == parts.fingerprint != other.fingerprint
    few = load(Wanted(root, size=64, limit=3, test=0.0))
    assert (len(few.train), few.test) == (3, None)
    assert load(Wanted(root, size=64, canvas=(96, 128), limit=1)).canvas == (96, 128)
    listed = made.devkit(tmp_path / "lists", {"train": list(boxes)[:9], "val": list(boxes)[9:]}, boxes)
    parts = load(Wanted(str(listed), size=64))
    assert ([len(part) for part in (parts.train, parts.valid, parts.test)], parts.own_test) == (
        [7, 11, 2],
        False,
    )


def test_sets_that_teach_nothing_or_are_too_small_to_cut_are_refused(tmp_path):
    made.voc(tmp_path / "empty", {"a": [], "b": [], "c": []})
    with pytest.raises(DataError, match=r"training images have no boxes that count.*nothing can be learned"):
        load(Wanted(str(tmp_path / "empty"), valid=0.0, test=0.0))
    made.voc(tmp_path / "one", {"a": [("cat", 1, 2, 9, 9)]})
    with pytest.raises(DataError, match=r"has 1 image: too few to cut data.test=0.2 off"):
        load(Wanted(str(tmp_path / "one")))
    made.devkit(tmp_path / "lists", {"test": "ab"})
    with pytest.raises(DataError, match="has no images to train on"):
        load(Wanted(str(tmp_path / "lists")))


def test_what_is_missing_or_in_two_parts_is_noticed(tmp_path):
    root = made.devkit(tmp_path, {"train": ["a", "b"], "test": ["b"], "val": ["c"]}, {**made.BOXES, "c": []})
    parts = load(Wanted(str(root), size=64))
    notices = parts.notices
    assert parts.own_test
    assert "1 image without boxes in valid" in notices
    assert "test has no box of 'dog'" in notices
    assert "1 image of test in train too, such as JPEGImages/b.png = JPEGImages/b.png" in notices


@given(st.integers(1, 30), st.integers(0, 2**40), st.floats(0, 0.5))
@settings(max_examples=30)
def test_parts_are_disjoint_whatever_the_seed_and_share(count, seed, share):
    from concord.data.detection import load as module

    samples = tuple(range(count))
    try:
        stay, gone = module._cut(samples, share, "test", Wanted("x", seed=seed))
    except DataError:
        assert round(share * count) >= count or count == 1
        return
    assert sorted(stay + gone) == list(samples)
    assert len(gone) == (round(share * count) or int(share > 0))
