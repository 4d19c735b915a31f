"""Elastic deformation, weights of borders and crops of images with masks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from concord.data.dataset import Draw
from concord.data.segmentation.border import Border, balance, between
from concord.data.segmentation.crops import Crops, window
from concord.data.segmentation.deform import Deform, displacement, field
from concord.errors import UsageError

# Deformation


def everywhere(coarse, size):
    return field(coarse, torch.arange(size[0]), torch.arange(size[1]), size)


def test_a_displacement_between_points_of_the_grid_is_bicubic():
    # halfway between the first two of the points 0, 8, 0 (the end repeated before them), with a = -3/4:
    # w(1/2) = 19/32 and w(3/2) = -3/32, so 8 * 19/32 = 4.75 there, and as much on the other side
    coarse = torch.zeros(2, 3, 3)
    coarse[0, 1] = 8
    coarse[1, :, 1] = 4
    moves = everywhere(coarse, (5, 9))
    assert moves[0, :, 4].tolist() == pytest.approx([0, 4.75, 8, 4.75, 0])
    assert moves[1, 2].tolist()[::2] == pytest.approx([0, 2.375, 4, 2.375, 0])


def test_displacements_are_those_of_interpolating_the_whole_grid():
    coarse = torch.randn(2, 4, 4)
    whole = torch.nn.functional.interpolate(coarse[None], (30, 47), mode="bicubic", align_corners=True)[0]
    torch.testing.assert_close(everywhere(coarse, (30, 47)), whole)
    part = field(coarse, torch.arange(5, 9), torch.tensor([46, 0]), (30, 47))
    torch.testing.assert_close(part, whole[:, 5:9][..., [46, 0]])


def test_a_constant_displacement_moves_everything_by_whole_pixels():
    coarse = torch.tensor([3.0, -2.0]).view(2, 1, 1).expand(2, 3, 3)  # x, y
    image = torch.randint(256, (1, 20, 31), dtype=torch.uint8)
    moved = F.elastic(image, displacement(everywhere(coarse, (20, 31))))
    assert torch.equal(moved[:, 2:, :-3], image[:, :-2, 3:])  # out[y, x] = in[y - 2, x + 3]


def test_without_displacement_nothing_moves():
    image, mask = torch.rand(2, 3, 17, 30), torch.randint(3, (2, 17, 30))
    moved, classes = Deform(sd=0)(tv_tensors.Image(image), tv_tensors.Mask(mask))
    torch.testing.assert_close(moved, tv_tensors.Image(image), atol=1e-5, rtol=0)
    assert torch.equal(classes, mask)


@pytest.mark.parametrize("size", [(96, 128), (128, 80)])
@pytest.mark.parametrize("seed", range(3))
def test_image_mask_and_boxes_move_together(size, seed):
    mask = torch.zeros(size, dtype=torch.uint8)
    mask[30:60, 20:55] = 1
    boxes = tv_tensors.BoundingBoxes([[20.0, 30, 55, 60]], format="XYXY", canvas_size=size)
    torch.manual_seed(seed)
    image, moved, box = Deform(sd=5)(tv_tensors.Image(200 * mask[None]), tv_tensors.Mask(mask), boxes)
    assert not torch.equal(moved, mask)
    assert ((image[0] > 100).to(torch.uint8) != moved).float().mean() < 0.005
    rows, columns = torch.nonzero(moved.any(1)), torch.nonzero(moved.any(0))
    extent = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert (box[0] - extent).abs().max() < 4
    assert isinstance(box, tv_tensors.BoundingBoxes)


def test_the_points_of_the_grid_move_by_the_standard_deviation():
    torch.manual_seed(0)
    deform = Deform(grid=40, sd=10)
    moves = deform.make_params([torch.zeros(1, 40, 40)])["displacement"] * 20  # back to pixels
    assert float(moves.std()) == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize("wrong", [{"grid": 1}, {"sd": -1}])
def test_a_grid_without_an_inside_and_negative_deviations_are_refused(wrong):
    with pytest.raises(UsageError, match=r"grid must be 2 or more"):
        Deform(**wrong)


# Weights


def test_the_weight_between_two_objects_by_hand():
    objects = np.zeros((4, 5), bool)
    objects[0, 0] = objects[0, 3] = True
    weights = between(objects, w0=10, sigma=2)
    d1, d2 = np.sqrt(5), np.sqrt(8)  # of (2, 1), from (0, 0) and from (0, 3)
    assert weights[2, 1] == pytest.approx(10 * np.exp(-((d1 + d2) ** 2) / 8))
    assert weights[0, 0] == 0


def test_one_object_has_no_border_and_none_neither():
    objects = np.zeros((6, 6), bool)
    assert (between(objects, 10, 5) == 0).all()
    objects[2:4, 2:4] = True
    assert (between(objects, 10, 5) == 0).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), sigma=st.sampled_from([0.7, 1.5, 5.0]))
def test_weights_are_those_of_distances_to_every_object(seed, sigma):
    rng = np.random.default_rng(seed)
    objects = np.kron(rng.random((8, 9)) < 0.25, np.ones((4, 3))).astype(bool)
    labels, count = ndimage.label(objects)
    distances = [ndimage.distance_transform_edt(labels != n) for n in range(1, count + 1)]
    if count < 2:
        return
    both = np.sort(distances, axis=0)[:2].sum(0)
    expected = np.where(objects, 0, 10 * np.exp(-(both**2) / (2 * sigma**2)))
    np.testing.assert_allclose(between(objects, 10, sigma), expected, atol=3e-7)


def test_balanced_classes_by_hand():
    # f = 3/4 and 1/4 of two classes: 1 / (2 * 3/4) and 1 / (2 * 1/4)
    assert balance([30, 10]) == pytest.approx((2 / 3, 2))
    assert balance([30, 0, 10]) == pytest.approx((2 / 3, 1, 2))  # a class without pixels has no share


@pytest.mark.parametrize("wrong", [{"w0": -1}, {"sigma": 0}, {"sigma": float("nan")}])
def test_borders_without_a_width_are_refused(wrong):
    with pytest.raises(UsageError, match="w0 must be 0 or more"):
        Border(**wrong)


def test_objects_of_an_unknown_class_are_refused():
    assert Border(objects="cell").number(("membrane", "cell")) == 1
    with pytest.raises(UsageError, match="'cel', the classes are membrane, cell"):
        Border(objects="cel").number(("membrane", "cell"))


# Crops


def layers(height=40, width=52, channels=1):
    """An image whose value is that of its place, and a class of its own for each place."""
    places = torch.arange(height * width).view(height, width)
    return (places % 251).to(torch.uint8).expand(channels, -1, -1), places.to(torch.int16), places.float()


def test_a_crop_is_a_window_at_a_random_place():
    whole = layers()
    corners = set()
    for number in range(400):
        image, classes, weights = Crops((37, 48), flip=False).drawn(whole, number, Draw(0, 0))
        y, x = divmod(int(classes[0, 0]), 52)
        corners.add((y, x))
        assert torch.equal(classes, whole[1][y : y + 37, x : x + 48])
        assert torch.equal(image[0], (classes % 251).to(torch.uint8))
        assert torch.equal(weights, classes.float())
    assert corners == {(y, x) for y in range(4) for x in range(5)}


def test_turns_and_flips_move_all_layers_and_all_eight_happen():
    crops, whole = Crops(8, turn=True), layers(8, 8)
    seen = set()
    for number in range(100):
        image, classes, weights = crops.drawn(whole, number, Draw(0, 0))
        seen.add(tuple(classes.flatten().tolist()))
        assert torch.equal(image[0], (classes % 251).to(torch.uint8))
        assert torch.equal(weights, classes.float())
    turned = {tuple(np.rot90(whole[1], k).ravel().tolist()) for k in range(4)}
    mirrored = {tuple(np.rot90(whole[1].flip(1), k).ravel().tolist()) for k in range(4)}
    assert seen == turned | mirrored


def test_brightness_multiplies_the_image_alone():
    whole = (torch.full((1, 8, 8), 100, dtype=torch.uint8), torch.zeros(8, 8, dtype=torch.int16))
    values = [int(Crops(8, brightness=0.3).drawn(whole, i, Draw(0, 0))[0][0, 0, 0]) for i in range(200)]
    assert 70 <= min(values) < 76
    assert 124 < max(values) <= 130


@pytest.mark.parametrize("number", range(5))
def test_a_deformed_crop_is_a_crop_of_the_deformed_image(number):
    smooth = (torch.nn.functional.avg_pool2d(torch.rand(1, 84, 130), 21, 1) * 255).to(torch.uint8)
    classes = torch.arange(64 * 110).view(64, 110).to(torch.int16)
    crops = Crops((20, 26), deform=3, flip=False)
    coarse = 3 * torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(number))
    image, cut = crops._deformed((smooth, classes), (22, 40), coarse)
    moves = displacement(everywhere(coarse, (64, 110)))
    whole = F.elastic(smooth, moves)[:, 22:42, 40:66]
    nearest = F.elastic(classes[None], moves, F.InterpolationMode.NEAREST)[0, 22:42, 40:66]
    assert (image.int() - whole.int()).abs().max() <= 1
    assert (cut != nearest).float().mean() < 0.01  # halves of pixels fall to one side or the other


def test_what_moves_in_from_outside_is_mirrored_and_counts_for_nothing():
    image, classes, weights = Crops(6).placed(layers(3, 4), 0)
    assert classes.tolist()[3] == [-1, 4, 5, 6, 7, -1]
    assert image[0].tolist()[3] == [5, 4, 5, 6, 7, 6]
    assert image[0, :, 1].tolist() == [8, 4, 0, 4, 8, 4]
    assert weights[0].tolist() == [0] * 6
    moved = window(layers(1, 1), (-2, -2), (5, 5))
    assert moved[0].tolist() == [[[0] * 5] * 5]
    assert int((moved[1] >= 0).sum()) == 1


def test_all_of_a_small_image_stands_somewhere_in_each_crop():
    places = set()
    for number in range(200):
        _, classes, _ = Crops((6, 7), flip=False).drawn(layers(3, 4), number, Draw(0, 0))
        assert sorted(classes[classes >= 0].tolist()) == list(range(12))
        places.add(tuple(torch.nonzero(classes == 0)[0].tolist()))
    assert places == {(y, x) for y in range(4) for x in range(4)}


def test_deformation_never_gives_a_class_to_what_lies_outside():
    whole = (torch.full((1, 30, 30), 77, dtype=torch.uint8), torch.ones(30, 30, dtype=torch.int16))
    outside = 0
    for number in range(30):
        image, classes = Crops(30, deform=6).drawn(whole, number, Draw(1, 0))
        assert set(classes.unique().tolist()) <= {-1, 1}
        assert (image == 77).all()  # mirrored, not black
        outside += int((classes == -1).sum())
    assert outside > 0


def test_the_layout_covers_an_image_about_once():
    crops = Crops((20, 26))
    assert crops.layout((40, 52)) == (2, 2)
    assert crops.layout((41, 52)) == (3, 2)
    assert crops.layout((10, 10)) == (1, 1)
    whole = layers(41, 52)
    seen = torch.cat([crops.placed(whole, k)[1].flatten() for k in range(6)])
    assert len(seen.unique()) == 41 * 52


@pytest.mark.parametrize("crops", [Crops(8), Crops(8, deform=2, turn=True, brightness=0.2)])
def test_a_crop_is_a_function_of_seed_epoch_and_sample(crops):
    whole = layers()

    def same(*draws):
        return torch.equal(*(crops.drawn(whole, number, Draw(*draw))[1] for number, *draw in draws))

    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert same((3, 1, 2), (3, 1, 2))
    assert not same((3, 1, 2), (4, 1, 2))
    assert not same((3, 1, 2), (3, 2, 2))
    assert not same((3, 1, 2), (3, 1, 3))
    assert torch.equal(before, torch.get_rng_state())


def test_a_change_that_is_switched_on_leaves_the_place_as_it_was():
    whole = layers()
    plain, lit = (Crops(8, brightness=b).drawn(whole, 3, Draw(0, 0))[1] for b in (0.0, 0.5))
    assert torch.equal(plain, lit)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": 0}, "1 to 4096"),
        ({"size": (8, 9), "turn": True}, "square crops, got 8x9"),
        ({"deform": -1.0}, "deform must be 0 or more"),
        ({"grid": 1}, "grid 2 or more"),
        ({"brightness": 1.5}, "0 to 1, got 1.5"),
    ],
)
def test_crops_that_cannot_be_cut_are_refused(wrong, said):
    with pytest.raises(UsageError, match=said):
        Crops(**wrong)
