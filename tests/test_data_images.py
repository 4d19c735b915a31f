"""The door that all images come through, their names, and their fingerprint."""

import numpy as np
import pytest
import torch

from concord.data.images.images import Images, checked, fingerprint, joined
from concord.data.names import Chained, Chosen, Numbered
from concord.errors import DataError

CLASSES = ("cat", "dog", "cow")


def pixels(n: int) -> torch.Tensor:
    return torch.arange(n * 4, dtype=torch.uint8).reshape(n, 1, 2, 2)


def made(labels=(0, 1, 2, 1), dtype=np.int64) -> Images:
    return checked(pixels(len(labels)), np.array(labels, dtype), CLASSES, Numbered("file", len(labels)))


def test_a_subset_keeps_order_names_and_classes():
    chosen = made().subset(torch.tensor([3, 0]))
    assert chosen.labels.tolist() == [1, 0]
    assert list(chosen.names) == ["file[3]", "file[0]"]
    assert chosen.pixels[:, 0, 0, 0].tolist() == [12, 0]
    assert chosen.classes == CLASSES
    assert list(chosen.subset(torch.tensor([1])).names) == ["file[0]"]


def test_a_subset_may_be_empty():
    none = made().subset(torch.tensor([], dtype=torch.int64))
    assert len(none) == 0
    assert none.pixels.shape == (0, 1, 2, 2)
    assert len(fingerprint(none)) == 64


def test_names_answer_like_a_list():
    names = Chained(Numbered("a", 2), Chosen(Numbered("b", 9), np.array([7, 3])))
    assert list(names) == ["a[0]", "a[1]", "b[7]", "b[3]"]
    assert names[-1] == "b[3]"
    assert names[1:3] == ["a[1]", "b[7]"]
    with pytest.raises(IndexError):
        names[4]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint64])
def test_any_integer_type_of_labels_is_taken(dtype):
    assert made((0, 1, 2), dtype).labels.dtype == torch.int64


@pytest.mark.fault(13)
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 3], r"file\[2\] has the label 3, expected 0 to 2$"),
        ([0, -1, 2], r"file\[1\] has the label -1, expected 0 to 2$"),
        ([0, -100, -100], r"file\[1\] has the label -100, expected 0 to 2 \(2 such labels\)"),
        ([0.0, 1.0, 2.0], r"file\[0\] has the label 0\.0, .*stored as integers, not float64"),
        ([0.0, 1.0, 1.5], r"file\[2\] has the label 1\.5, .*stored as integers, not float64"),
        ([0.0, float("nan"), 2.0], r"file\[1\] has the label nan, "),
        ([0.0, float("inf"), 2.0], r"file\[1\] has the label inf, "),
        ([True, False, True], r"file\[0\] has the label True, .*not bool"),
        ([[0], [1], [2]], r"one whole number per image, got shape \(3, 1\)"),
        ([0, 1], "3 images but 2 labels"),
    ],
)
def test_a_wrong_label_is_refused_with_its_sample(labels, message):
    with pytest.raises(DataError, match=message):
        checked(pixels(3), np.array(labels), CLASSES, Numbered("file", 3))


@pytest.mark.fault(15)
@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((), "at least 2 classes are needed, there is none"),
        (("cat",), "only 'cat'"),
        (("a", "a", "b"), "same name"),
    ],
)
def test_too_few_or_equal_classes_are_refused(classes, message):
    with pytest.raises(DataError, match=message):
        checked(pixels(3), np.zeros(3, np.int64), classes, Numbered("file", 3))


def test_no_images_are_refused_at_the_door():
    with pytest.raises(DataError, match="no images"):
        checked(pixels(0), np.zeros(0, np.int64), CLASSES, [])


@pytest.mark.parametrize(
    ("tensor", "labels", "names"),
    [
        (torch.zeros(1, 1, 2, 2), torch.zeros(1, dtype=torch.int64), ["a"]),
        (torch.zeros(1, 2, 2, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), ["a"]),
        (pixels(1), torch.zeros(1), ["a"]),
        (pixels(2), torch.zeros(1, dtype=torch.int64), ["a"]),
        (pixels(1), torch.zeros(1, dtype=torch.int64), ["a", "b"]),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tensor, labels, names):
    with pytest.raises(DataError):
        Images(tensor, labels, CLASSES, names)


def test_joined_images_keep_all_four_parts():
    both = joined(made((0, 1)), made((2, 2)))
    assert both.labels.tolist() == [0, 1, 2, 2]
    assert both.names[2] == "file[0]"
    assert torch.equal(both.pixels[2:], both.pixels[:2])


def test_images_of_another_size_cannot_be_joined():
    other = checked(
        torch.zeros(2, 1, 3, 3, dtype=torch.uint8), np.array([0, 1]), CLASSES, Numbered("file", 2)
    )
    with pytest.raises(DataError, match="cannot be put together"):
        joined(made(), other)


def test_the_fingerprint_changes_with_pixels_labels_classes_and_shape_only():
    images = made()
    same = Images(images.pixels.clone(), images.labels, CLASSES, ["x"] * 4)
    assert fingerprint(images) == fingerprint(same)
    changed = images.pixels.clone()
    changed[3, 0, 1, 1] += 1
    others = [
        Images(changed, images.labels, CLASSES, images.names),
        Images(images.pixels, images.labels.flip(0), CLASSES, images.names),
        Images(images.pixels, images.labels, ("cat", "dog", "cows"), images.names),
        Images(images.pixels.reshape(4, 1, 1, 4), images.labels, CLASSES, images.names),
    ]
    assert len({fingerprint(x) for x in (images, *others)}) == 5


def test_a_view_has_the_fingerprint_of_its_copy():
    images = made()
    turned = Images(images.pixels.transpose(2, 3), images.labels, CLASSES, images.names)
    copied = Images(turned.pixels.contiguous(), images.labels, CLASSES, images.names)
    assert fingerprint(turned) == fingerprint(copied) != fingerprint(images)
