"""Prediction by tiles: equal to one pass over the whole picture, mirrored where it ends."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from concord.errors import ShapeError, UsageError
from concord.layers.tiles import Grid, Tiled, cut, mirrored
from concord.zoo.unet import grid_of, unet


def small(depth, *, same, seed=0):
    torch.manual_seed(seed)
    return unet(1, 2, width=3, depth=depth, same=int(same)).double().eval()


def one_pass(network, x):
    """Of the picture with mirrored pixels around it, by numpy's padding."""
    grid, (h, w) = network.grid, x.shape[2:]
    ends = [grid.fitting(n + 2 * grid.margin) - n - grid.margin for n in (h, w)]
    pads = [(0, 0), (0, 0), *((grid.margin, end) for end in ends)]
    padded = np.pad(x.numpy(), pads, mode="reflect")
    return network(torch.from_numpy(padded))[:, :, :h, :w]


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize(
    ("depth", "largest", "shape"),
    [(1, 24, (50, 33)), (2, 56, (131, 96)), (2, 56, (3, 61)), (3, 136, (170, 20)), (2, 500, (130, 90))],
)
@torch.no_grad()
def test_tiles_give_what_one_pass_gives(same, depth, largest, shape):
    network = small(depth, same=same)
    x = torch.randn(2, 1, *shape, dtype=torch.float64)
    torch.testing.assert_close(Tiled(network, largest=largest).eval()(x), one_pass(network, x))


@torch.no_grad()
def test_less_overlap_than_a_pixel_sees_would_change_the_output():
    network, x = small(2, same=True), torch.randn(1, 1, 120, 120, dtype=torch.float64)
    grid = network.grid
    less = Grid(grid.multiple, overlap=grid.overlap - grid.multiple)
    whole = network(x)
    assert (Tiled(network, largest=64).eval()(x) - whole).abs().max() < 1e-12
    assert (Tiled(network, largest=64, grid=less).eval()(x) - whole).abs().max() > 1e-6


def test_a_picture_of_512_takes_two_by_two_tiles():
    assert cut(512, grid_of(4, same=False), 572) == (444, [0, 256])
    assert cut(388, grid_of(4, same=False), 572) == (572, [0])
    assert cut(389, grid_of(4, same=False), 572) == (396, [0, 192])  # 212 each, 404 together


@given(
    st.integers(1, 3000),
    st.integers(1, 4),
    st.booleans(),
    st.integers(0, 40),
)
@settings(max_examples=200, deadline=None)
def test_tiles_cover_every_pixel_once_and_none_is_larger_than_allowed(length, depth, same, spare):
    grid = grid_of(depth, same=same)
    largest = grid.fitting(2 * (grid.margin + grid.overlap) + grid.multiple) + spare
    tile, begins = made = cut(length, grid, largest)
    assert tile <= largest
    assert grid.fits(tile)
    covered = []
    for begin, of_picture, of_output in made.kept(grid.overlap, length):
        assert begin % grid.multiple == 0
        assert of_picture.start - begin == of_output.start
        assert of_output.start >= (grid.overlap if begin else 0)
        assert of_output.stop <= tile - 2 * grid.margin - (grid.overlap if begin != begins[-1] else 0)
        covered += range(of_picture.start, of_picture.stop)
    assert covered == list(range(length))


@torch.no_grad()
def test_no_more_pixels_than_a_tile_has_go_through_at_once():
    network, seen = small(2, same=False), []
    network.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0].shape))
    Tiled(network, largest=84).eval()(torch.randn(9, 1, 6, 90, dtype=torch.float64))
    assert {shape.numel() <= 84**2 for shape in seen} == {True}
    assert {shape[0] for shape in seen} == {1, 2}
    assert len(seen) == 5 * 3


@pytest.mark.parametrize("n", [1, 2, 5])
def test_mirrored_positions_are_those_of_numpy(n):
    x = torch.arange(n)
    expected = np.pad(x.numpy(), (9, 11), mode="reflect")
    for begin in range(-9, n + 3):
        for length in (1, 4, 8):
            assert mirrored(x, 0, begin, length).tolist() == expected[begin + 9 : begin + 9 + length].tolist()


def test_a_mirrored_axis_by_hand():
    x = torch.tensor([[7, 8, 9], [1, 2, 3]])
    assert mirrored(x, 1, -3, 8).tolist() == [[8, 9, 8, 7, 8, 9, 8, 7], [2, 3, 2, 1, 2, 3, 2, 1]]


def test_in_training_it_is_the_network_itself():
    network = small(1, same=False)
    tiled = Tiled(network, largest=40).train()
    network.drop.p = 0.0
    x = torch.randn(2, 1, 36, 40, dtype=torch.float64)
    assert torch.equal(tiled(x), network(x))
    with pytest.raises(ShapeError, match="must be 2 k and at least 18, got 35x40"):
        tiled(x[:, :, 1:])


def test_gradients_reach_the_picture_through_all_tiles():
    tiled = Tiled(small(1, same=True), largest=24).eval()
    x = torch.randn(1, 1, 50, 30, dtype=torch.float64, requires_grad=True)
    (by_tiles,) = torch.autograd.grad(tiled(x).square().sum(), x)
    (by_one,) = torch.autograd.grad(tiled.network(x).square().sum(), x)
    torch.testing.assert_close(by_tiles, by_one)


def test_what_has_no_grid_or_no_room_is_refused():
    with pytest.raises(UsageError, match="Conv2d has no grid: give grid="):
        Tiled(nn.Conv2d(1, 1, 3))
    with pytest.raises(UsageError, match="at least 204 pixels for this network, got 203"):
        Tiled(unet(width=1), largest=203)
    for shape in ((1, 40, 40), (2, 1, 0, 40)):
        with pytest.raises(ShapeError, match="expected pictures"):
            Tiled(unet(width=1)).eval()(torch.zeros(shape))


@torch.no_grad()
def test_any_fully_convolutional_network_can_be_tiled_if_its_grid_is_given():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 5), nn.ReLU(), nn.Conv2d(2, 3, 3)).double()
    x = torch.randn(1, 1, 40, 20, dtype=torch.float64)
    expected = network(torch.from_numpy(np.pad(x.numpy(), [(0, 0), (0, 0), (3, 3), (3, 3)], mode="reflect")))
    tiled = Tiled(network, largest=17, grid=Grid(1, margin=3)).eval()
    torch.testing.assert_close(tiled(x), expected)
