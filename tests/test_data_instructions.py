"""Pictures with instructions: the words mean what the labels say, and neither input tells alone."""

from collections import Counter
from itertools import pairwise

import pytest
import torch

from concord.data import batches
from concord.data.batches import Normalise
from concord.data.images import digits
from concord.data.images.images import Images
from concord.data.images.instructions import (
    DOWN,
    LENGTH,
    LETTERS,
    NUMBERS,
    UP,
    VOCABULARY,
    Instructed,
    Wording,
    encode,
    in_order,
    instructed,
    shuffled,
    wordings,
)
from concord.errors import DataError, UsageError

RAW = Normalise((0.0,), (1.0,))
UPWARD = ("add", "plus", "more", "up", "after")


@pytest.fixture(scope="module")
def images() -> Images:
    return digits.parts().train


def read(ids) -> str:
    return "".join(LETTERS[i - 1] for i in ids if i)


def meant(text: str) -> int:
    """The signed number that a sentence asks for, read word by word."""
    words = text.split()
    (number,) = [NUMBERS.index(word) for word in words if word in NUMBERS]
    return number if set(words) & set(UPWARD) else -number


def test_wordings_by_hand():
    shifts = {one.text: one.shift for held in (False, True) for one in wordings(held_out=held)}
    assert shifts["add three"] == 3
    assert shifts["take away two"] == 8
    assert shifts["what comes seven before it"] == 3
    assert shifts["minus zero"] == shifts["plus zero"] == 0
    assert len(shifts) == 100
    assert all(shift == meant(text) % 10 for text, shift in shifts.items())


def test_held_out_wordings_are_two_of_each_template_and_shift():
    known, held = wordings(), wordings(held_out=True)
    assert [one.text for one in held[:4]] == ["add zero", "add five", "plus two", "plus seven"]
    assert not {one.text for one in known} & {one.text for one in held}
    assert set(Counter(one.shift for one in known).values()) == {8}
    assert set(Counter(one.shift for one in held).values()) == {2}
    for template in UP + DOWN:
        filled = {template.format(number) for number in NUMBERS}
        assert len(filled & {one.text for one in held}) == 2
    for number in NUMBERS:  # every number is met in training, upwards and downwards
        shown = [one for one in known if number in one.text.split()]
        assert len(shown) == 8
        assert len({meant(one.text) < 0 for one in shown}) == 1 + (number != "zero")


@pytest.mark.parametrize("held_out", [False, True])
def test_neither_the_picture_nor_the_words_alone_tell_the_label(held_out):
    known = wordings(held_out=held_out)
    for digit in range(10):
        labels = Counter((digit + one.shift) % 10 for one in known)
        assert set(labels) == set(range(10))
        assert len(set(labels.values())) == 1
    for one in known:
        assert sorted((digit + one.shift) % 10 for digit in range(10)) == list(range(10))


def test_texts_have_several_lengths():
    assert len({len(one.text) for one in wordings()}) > 10
    assert max(len(one.text) for held in (False, True) for one in wordings(held_out=held)) == LENGTH


def test_ids_by_hand():
    assert encode("a bz", 6).tolist() == [2, 1, 3, 27, 0, 0]
    assert encode("add one").shape == (LENGTH,)
    assert encode("add one").dtype == torch.int64
    assert VOCABULARY == 28


@pytest.mark.parametrize(
    ("text", "message"),
    [("add 3", r"'add 3' has '3'; .* a to z"), ("x" * 27, "has 27 characters, length=26 is too small")],
)
def test_texts_that_cannot_be_written_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        encode(text)


def test_labels_are_what_the_words_say_of_the_digits(images):
    data = instructed(images, wordings(), seed=0)
    assert len(data) == len(images)
    for ids, digit, label in zip(data.text, images.labels.tolist(), data.labels.tolist(), strict=True):
        assert label == (digit + meant(read(ids))) % 10
    assert data.labels.dtype == data.text.dtype == torch.int64


def test_all_wordings_are_drawn_about_equally_often(images):
    texts = Counter(map(tuple, instructed(images, wordings(), seed=0).text.tolist()))
    expected = len(images) / 80
    statistic = sum((count - expected) ** 2 / expected for count in texts.values())
    assert len(texts) == 80
    assert statistic < 79 + 3 * (2 * 79) ** 0.5  # chi-square with 79 degrees of freedom


def test_an_instruction_is_a_function_of_seed_epoch_and_number(images):
    few = images.subset(torch.arange(200))
    one = instructed(images, wordings(), seed=3, epoch=2)
    again = instructed(few, wordings(), seed=3, epoch=2)
    assert torch.equal(one.text[:200], again.text)
    others = [instructed(few, wordings(), seed=s, epoch=e) for s, e in ((4, 2), (3, 1), (2, 3))]
    for first, second in pairwise([again, *others]):
        assert (first.text != second.text).any(1).float().mean() > 0.9


def test_the_draws_stay_what_they_are(images):
    # Held so that figures can be repeated with a later version.
    data = instructed(images.subset(torch.arange(3)), wordings(), seed=0)
    assert [read(ids) for ids in data.text] == [
        "what comes six before it",
        "go down by nine",
        "what comes six before it",
    ]


def test_batches_are_those_of_the_pictures_with_their_texts(images):
    data = instructed(images, wordings(), seed=0)
    options = {"batch_size": 500, "seed": 1, "epoch": 2}
    plain = list(batches.shuffled(images, RAW, **options))
    for start in (0, 2):
        ours = list(shuffled(data, RAW, start=start, **options))
        assert len(ours) == len(plain) - start
        for ((x, text), y), (expected, seen) in zip(ours, plain[start:], strict=True):
            assert torch.equal(x, expected)
            assert y.tolist() == [
                (k + meant(read(ids))) % 10 for k, ids in zip(seen.tolist(), text, strict=True)
            ]


def test_evaluation_keeps_the_stored_order(images):
    data = instructed(images, wordings(), seed=0)
    parts = list(in_order(data, RAW, batch_size=700))
    assert [len(y) for _, y in parts] == [700, 700, 397]
    assert torch.equal(torch.cat([x for (x, _), _ in parts]), RAW(images.pixels))
    assert torch.equal(torch.cat([text for (_, text), _ in parts]), data.text)
    assert torch.equal(torch.cat([y for _, y in parts]), data.labels)


def test_wordings_of_ones_own(images):
    data = instructed(images, [Wording("the opposite digit please count half around", 5)], seed=0, length=50)
    assert torch.equal(data.labels, (images.labels + 5) % 10)
    assert data.text.shape == (1797, 50)
    with pytest.raises(UsageError, match="at least one wording"):
        instructed(images, [], seed=0)


def test_pictures_of_something_else_are_refused(images):
    other = Images(images.pixels, images.labels, tuple("abcdefghij"), images.names)
    with pytest.raises(DataError, match="classes 0 to 9 in this order, got 10 classes: a, b, c"):
        instructed(other, wordings(), seed=0)


def test_all_tensors_move_together(images):
    moved: Instructed = instructed(images, wordings(), seed=0).to("meta")
    assert moved.images.pixels.is_meta
    assert moved.text.is_meta
    assert moved.labels.is_meta
