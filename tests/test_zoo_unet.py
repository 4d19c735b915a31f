"""U-Net: published counts, sizes that fit, what a pixel sees, and the network written out in functions."""

from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms.functional import center_crop

from concord.cost.count import count
from concord.errors import ShapeError, UsageError
from concord.report.cost_totals import totals
from concord.runs.cost_inputs import usual_inputs
from concord.runs.costs import cost_of
from concord.zoo.unet import UNet, grid_of, unet


def on_meta(channels=1, classes=2, **sizes):
    with torch.device("meta"):
        return unet(channels, classes, **sizes)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


# --- counts -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channels", "classes", "sizes", "printed"),
    [
        (1, 2, {}, 31_030_658),
        (1, 2, {"same": 1}, 31_030_658),
        (1, 1, {}, 31_030_593),
        (3, 1, {}, 31_031_745),
        (3, 2, {}, 31_031_810),
        (1, 1, {"norm": 1}, 31_036_481),
        (3, 1, {"norm": 1, "same": 1}, 31_037_633),  # milesial/Pytorch-UNet
        (3, 2, {"norm": 1, "same": 1}, 31_037_698),
        (1, 2, {"depth": 3, "width": 8, "norm": 1}, 121_042),
    ],
)
def test_parameters_are_those_that_are_known(channels, classes, sizes, printed):
    assert parameters(on_meta(channels, classes, **sizes)) == printed


def test_without_skips_the_first_convolution_of_each_merging_pair_is_half_as_large():
    halves = sum(9 * w**2 for w in (64, 128, 256, 512))
    assert parameters(on_meta()) - parameters(on_meta(skips=0)) == halves == 3_133_440


@pytest.mark.parametrize(
    ("sizes", "side", "macs"),
    [
        ({}, 572, 150_428_424_448),
        ({"same": 1}, 512, 192_384_335_872),
        ({"same": 1}, 256, 48_096_083_968),
    ],
)
def test_products_are_those_that_are_known(sizes, side, macs):
    assert count(on_meta(**sizes), (1, side, side)).macs == macs


def test_a_network_of_one_level_has_the_products_of_its_formula():
    """Widths 3 and 6; sides 20 -> 18 -> 16, pooled 8 -> 6 -> 4, up 8 -> 6 -> 4."""
    down = 9 * (18**2 * 3 + 16**2 * 9) + 9 * (6**2 * 18 + 4**2 * 36)
    up = 4 * 4**2 * 6 * 3 + 9 * (6**2 * 18 + 4**2 * 9) + 4**2 * 6
    assert count(on_meta(1, 2, width=3, depth=1), (1, 20, 20)).macs == down + up


# --- sizes --------------------------------------------------------------------


@pytest.mark.parametrize(("side", "output"), [(188, 4), (572, 388), (684, 500)])
def test_valid_convolutions_take_184_pixels(side, output):
    assert on_meta()(torch.empty(1, 1, side, 188, device="meta")).shape == (1, 2, output, 4)


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("same", [0, 1])
def test_sizes_fit_if_each_pooling_reads_an_even_map_and_a_pixel_is_left(depth, same):
    network, grid = on_meta(1, 3, width=1, depth=depth, same=same), grid_of(depth, same=bool(same))

    def left(n):
        for _ in range(depth):
            n -= 0 if same else 4
            if n < 2 or n % 2:
                return 0
            n //= 2
        n -= 0 if same else 4
        for _ in range(depth):
            n = 2 * n - (0 if same else 4)
        return max(n, 0)

    for side in range(1, 120):
        x = torch.empty(2, 1, side, grid.fitting(1), device="meta")
        if left(side):
            assert network(x).shape == (2, 3, left(side), left(grid.fitting(1)))
        else:
            with pytest.raises(ShapeError, match="height and width"):
                network(x)


@pytest.mark.parametrize(
    ("sizes", "shape", "words"),
    [
        ({}, (512, 572), r"16 k \+ 12 and at least 188, got 512x572; next to 512: 508 and 524. Crop"),
        ({}, (572, 100), "next to 100: 188"),
        ({"same": 1}, (64, 40), r"must be 16 k and at least 16, got 64x40; next to 40: 32 and 48"),
    ],
)
def test_a_refusal_names_the_next_sizes_that_fit(sizes, shape, words):
    with pytest.raises(ShapeError, match=words):
        on_meta(width=1, **sizes)(torch.empty(1, 1, *shape, device="meta"))


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("unet", 572),
        ("unet(depth=3)", 572),
        ("unet(depth=6)", 764),
        ("unet(same=1)", 512),
        ("unet(same=1,depth=10)", 1024),
    ],
)
def test_a_network_in_brackets_is_counted_for_pictures_that_it_takes(name, side):
    assert [one.shape for one in usual_inputs(name)] == [(1, side, side)]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"width": 0}, "at least 1"),
        ({"depth": 0}, "at least 1"),
        ({"depth": 13}, "at most 12"),
        ({"dropout": 100}, "percentage from 0 to 99"),
    ],
)
def test_wrong_sizes_of_the_network_are_refused(wrong, words):
    with pytest.raises(UsageError, match=words):
        unet(**wrong)


# --- what it computes ---------------------------------------------------------


def written_out(network, x, *, same, skips):
    """The same in functions, with torchvision's crop, from the values of the state dict in their order."""
    values = iter(network.state_dict().values())

    def pair(x):
        for _ in range(2):
            x = F.relu(F.conv2d(x, next(values), next(values), padding=int(same)))
        return x

    levels = [pair(x)]
    for _ in network.up:
        levels.append(pair(F.max_pool2d(levels[-1], 2)))
    ups = [(next(values), next(values)) for _ in network.up]
    y = levels.pop()
    for weight, bias in ups:
        y = F.conv_transpose2d(y, weight, bias, stride=2)
        skip = center_crop(levels.pop(), y.shape[2:])
        y = pair(torch.cat([skip, y], 1) if skips else y)
    return F.conv2d(y, next(values), next(values))


@pytest.mark.parametrize("same", [0, 1])
@pytest.mark.parametrize("skips", [0, 1])
def test_it_is_the_network_of_figure_1(same, skips):
    torch.manual_seed(0)
    network = unet(2, 3, width=3, depth=2, same=same, skips=skips).double().eval()
    x = torch.randn(2, 2, 48, 60, dtype=torch.float64)
    torch.testing.assert_close(network(x), written_out(network, x, same=same, skips=skips))


def test_dropout_stands_behind_the_last_two_levels_of_the_contracting_path():
    network, seen = unet(width=2, depth=3, same=1), []
    network.drop.register_forward_hook(lambda m, inputs, y: seen.append(tuple(y.shape[1:])))
    x = torch.randn(1, 1, 16, 16)
    assert not torch.equal(network(x), network(x))
    assert seen == [(8, 4, 4), (16, 2, 2)] * 2
    assert network.drop.p == 0.5
    still = unet(width=2, depth=3, same=1, dropout=0)
    assert torch.equal(still(x), still(x))


def test_maps_have_the_size_of_their_input_at_the_start():
    """He: w ~ N(0, 2 / n) for n numbers that one output reads; behind a ReLU the mean square stays."""
    torch.manual_seed(0)
    network = unet(4, 2, width=32, depth=2)
    for layer in network.modules():
        reads = {
            torch.nn.Conv2d: lambda m: m.weight[0].numel(),
            torch.nn.ConvTranspose2d: lambda m: m.in_channels,
        }.get(type(layer))
        if reads:
            assert layer.weight.std().item() == pytest.approx(sqrt(2 / reads(layer)), rel=0.06)
            assert not layer.bias.any()
    up = network.up[0]
    x = torch.randn(4, 128, 30, 30).relu()
    assert up(x).square().mean().item() == pytest.approx(2 * x.square().mean().item(), rel=0.1)


# --- what a pixel sees --------------------------------------------------------


@pytest.mark.parametrize(("depth", "sizes"), [(2, {44}), (3, {92, 100}), (4, {188, 204})])
@pytest.mark.parametrize("same", [0, 1])
def test_what_a_pixel_sees_depends_on_its_place(depth, sizes, same):
    name = f"unet(depth={depth},width=1,same={same})"
    priced = cost_of(name)
    field = priced.receptive_field
    assert set(field.phases) == sizes
    assert (field.size, field.stride, field.fields[2].period) == ((max(sizes),) * 2, (1, 1), 2**depth)
    (text,) = [text for name, text in totals(priced) if name == "receptive field"]
    assert ("(92 and 100 by turns)" in text) == (depth == 3)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_no_pixel_sees_farther_than_seven_times_2_to_the_depth_less_5(depth):
    field = cost_of(f"unet(depth={depth},width=1,same=1)").receptive_field.fields[2]
    middle = range(256, 256 + 2**depth)
    away = max(max(i - field.region(i)[0], field.region(i)[1] - i) for i in middle)
    grid = grid_of(depth, same=True)
    assert away == 7 * 2**depth - 5
    assert away <= grid.overlap < away + 2**depth
    assert grid.overlap % 2**depth == 0


def test_the_gradient_reaches_as_far_as_the_field_says():
    torch.manual_seed(0)
    network = UNet(1, 1, width=2, depth=2, same=True, dropout=0).double()
    for p in network.parameters():
        p.data = p.data.abs() + 0.1  # nothing cancels, no ReLU is shut
    x = torch.rand(1, 1, 96, 96, dtype=torch.float64, requires_grad=True)
    field = count(network, (1, 96, 96)).receptive_field.fields[2]
    for i in range(46, 50):
        (seen,) = torch.autograd.grad(network(x)[0, 0, i, i], x)
        rows = seen[0, 0].any(1).nonzero()
        low, high = field.region(i)
        assert low <= rows.min() <= low + 1  # max pooling passes one of two rows on
        assert high - 1 <= rows.max() <= high
