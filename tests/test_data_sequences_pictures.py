"""Pictures as sequences: pixels one by one, and films of digits beside a simulation of every single step."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concord.data.dataset import Draw
from concord.data.images.images import checked
from concord.data.sequences.moving import MovingDigits, bounced
from concord.data.sequences.pixels import pixels
from concord.errors import UsageError

EVERY = torch.arange(40)


def pictures(count=6):
    values = torch.arange(count * 2 * 3, dtype=torch.uint8).view(count, 1, 2, 3)
    return checked(values, np.arange(count) % 2, ("even", "odd"), [f"p{i}" for i in range(count)])


def films(count=40, **settings):
    """Digit k is one bright pixel of value k + 1 in a picture of 5x7, so that a film shows where it is."""
    digits = torch.zeros(9, 5, 7, dtype=torch.uint8)
    digits[:, 0, 0] = torch.arange(1, 10)
    return MovingDigits(digits, count, **({"side": 20} | settings))


def test_pixels_are_read_row_by_row_from_0_to_1():
    x, y = pixels(pictures()).batch(torch.tensor([1, 4]), None)
    assert (
        x.flatten(1).tolist()
        == (torch.tensor([[6, 7, 8, 9, 10, 11], [24, 25, 26, 27, 28, 29]]) / 255).tolist()
    )
    assert x.dtype == torch.float32
    assert y.tolist() == [1, 0]
    assert pixels(pictures()).spec.shape == (6, 1)


def test_a_permutation_is_that_of_its_seed_and_the_same_for_every_picture():
    images = pictures()
    index = torch.arange(6)
    plain, (x, y) = pixels(images).batch(index, None)[0], pixels(images, permuted=3).batch(index, Draw(1, 2))
    order = pixels(images, permuted=3).order
    assert sorted(order.tolist()) == list(range(6))
    assert torch.equal(x, plain[:, order])
    assert torch.equal(y, images.labels)
    orders = {tuple(pixels(images, permuted=seed).order.tolist()) for seed in range(20)}
    assert len(orders) > 10
    prints = {pixels(images, permuted=seed).fingerprint for seed in (None, 0, 1)}
    assert len(prints) == 3
    assert pixels(pictures(), permuted=0).fingerprint in prints


def test_channels_stay_together_at_their_step():
    values = torch.arange(12, dtype=torch.uint8).view(1, 3, 2, 2)
    images = checked(values, np.array([0]), ("a", "b"), ["p"])
    x, _ = pixels(images).batch(torch.tensor([0]), None)
    assert (x[0] * 255).round().tolist() == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]


@given(st.floats(0, 1), st.floats(-5, 5), st.floats(1, 40))
def test_a_bouncing_path_is_the_one_simulated_step_by_step(share, velocity, room):
    place, now, expected = share * room, velocity, []
    for _ in range(30):
        expected.append(place)
        place += now
        while not 0 <= place <= room:  # mirrored at the border that it has crossed
            place, now = (-place if place < 0 else 2 * room - place), -now
    straight = share * room + velocity * np.arange(30)
    np.testing.assert_allclose(bounced(straight, np.array(room)), expected, atol=1e-9)


def test_a_film_shows_its_digits_where_their_paths_say():
    made = films(objects=2)
    x, y = made.batch(EVERY, None)
    assert x.shape == y.shape == (40, 10, 1, 20, 20)
    frames = (torch.cat([x, y], 1)[:, :, 0] * 255).round().int()
    paths = [made.path(EVERY.numpy(), k) for k in range(2)]
    for film in range(40):
        for t in range(20):
            spots = {(math.floor(p[film, t, 0]), math.floor(p[film, t, 1])) for p in paths}
            assert {tuple(place) for place in frames[film, t].nonzero().tolist()} == spots


def test_speeds_directions_and_places_are_uniform():
    index = torch.arange(3000)
    paths = films(3000, side=4000).path(index.numpy(), 0)  # no border within reach of most
    steps = np.diff(paths, axis=1)
    inside = ((paths > 100) & (paths < 3880)).all((1, 2))
    speeds = np.hypot(steps[..., 0], steps[..., 1])[inside]
    assert speeds.min() >= 3
    assert speeds.max() < 5
    np.testing.assert_allclose(speeds, np.repeat(speeds[:, :1], 19, 1), atol=1e-9)
    assert speeds.mean() == pytest.approx(4, abs=0.05)
    turn = np.arctan2(steps[:, 0, 0], steps[:, 0, 1])[inside]
    assert np.abs([np.sin(turn).mean(), np.cos(turn).mean(), np.sin(2 * turn).mean()]).max() < 0.05
    room = np.array([3995.0, 3993.0])
    assert (paths[:, 0] / room).mean(0) == pytest.approx([0.5, 0.5], abs=0.02)
    assert (paths[:, 0] / room).std(0) == pytest.approx([1 / math.sqrt(12)] * 2, abs=0.02)


def test_what_is_drawn_for_a_film_is_drawn_independently():
    made, index = films(4000, side=4000), np.arange(4000)
    drawn = []
    for k in range(2):
        path = made.path(index, k)
        step = path[:, 1] - path[:, 0]
        drawn += [path[:, 0, 0], path[:, 0, 1], np.hypot(*step.T), *step.T]
    assert np.abs(np.corrcoef(drawn) - np.eye(10)).max() < 0.08


def test_digits_stay_inside_and_turn_at_borders():
    paths = films(speeds=(3.0, 5.0)).path(EVERY.numpy(), 1)
    assert paths.min() >= 0
    assert (paths.max((0, 1)) <= [15, 13]).all()
    assert (np.diff(np.sign(np.diff(paths, axis=1)), axis=1) != 0).any((1, 2)).mean() > 0.9


def test_the_brighter_digit_is_seen_where_two_overlap():
    bright = torch.tensor([[[200]], [[90]]], dtype=torch.uint8)
    made = MovingDigits(bright, 400, side=2, objects=2)  # one of four places
    x, _ = made.batch(torch.arange(400), None)
    values = (x * 255).round().flatten(1).int()
    assert set(values.unique().tolist()) == {0, 90, 200}
    paths = [np.floor(made.path(np.arange(400), k)) for k in range(2)]
    met = (paths[0][:, :10] == paths[1][:, :10]).all(2)
    both = (x[:, :, 0] * 255).round().int().flatten(2)
    assert met.any()
    assert (both.gt(0).sum(2).numpy()[met] == 1).all()
    assert set(both.amax(2).numpy()[met].tolist()) == {90, 200}
    mixed = np.array([set(row.unique().tolist()) >= {90, 200} for row in both])
    assert (both.amax(2).numpy()[met & mixed[:, None]] == 200).all()


def test_a_film_is_a_function_of_its_seed_and_number():
    made, again = films(), films()
    x, y = made.batch(torch.tensor([7, 3]), None)
    for index, place in (([3], 1), ([0, 5, 7], -1)):
        x2, y2 = again.batch(torch.tensor(index), Draw(9, 4))
        assert torch.equal(x2[-1], x[place if place == 1 else 0])
        assert torch.equal(y2[-1], y[place if place == 1 else 0])
    longer = films(10_000)
    assert torch.equal(longer.batch(torch.tensor([7]), None)[0][0], x[0])
    assert not torch.equal(films(seed=1).batch(torch.tensor([7]), None)[0][0], x[0])
    assert made.fingerprint == again.fingerprint
    prints = {films(**{key: value}).fingerprint for key, value in
              (("count", 41), ("seed", 1), ("objects", 1), ("shown", 9), ("speeds", (1.0, 2.0)))}  # fmt: skip
    assert len(prints | {made.fingerprint}) == 6


def test_films_show_no_digit_but_those_that_they_are_made_of():
    """Pictures of one brightness each: those of the training and of the test never meet."""
    values = torch.arange(1, 201, dtype=torch.uint8).view(-1, 1, 1).expand(-1, 4, 4)
    shown = []
    for part in (values[:150], values[150:]):
        made = MovingDigits(part, 300, side=16)
        shown.append(
            {v for batch in made.batch(torch.arange(300), None) for v in batch.unique().tolist() if v}
        )
    assert not shown[0] & shown[1]
    assert len(shown[0]) > 100
    assert len(shown[1]) == 50


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: MovingDigits(torch.zeros(3, 28, 28), 5), r"uint8, got torch.float32 \(3, 28, 28\)"),
        (lambda: MovingDigits(torch.zeros(0, 28, 28, dtype=torch.uint8), 5), r"\(N, h, w\) of uint8"),
        (lambda: films(side=7), "digits of 5x7 cannot move in frames of 7x7"),
        (lambda: films(0), "at least 1, got 0, 2, 10 and 10"),
        (lambda: films(ahead=0), "at least 1"),
        (lambda: films(speeds=(5.0, 3.0)), "speeds are a range"),
        (lambda: films(speeds=(0.0, float("nan"))), "speeds are a range"),
    ],
)
def test_wrong_settings_are_refused(call, words):
    with pytest.raises(UsageError, match=words):
        call()
