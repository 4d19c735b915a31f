"""LeNet-5 against the paper's own figures, and its forward pass against one written map by map."""

import pytest
import torch
import torch.nn.functional as F

from concord.cost.count import count
from concord.data.images.digits import parts
from concord.errors import ShapeError, UsageError
from concord.zoo.lenet5 import LeNet5, PartialConv2d, Subsampling, lenet5, squash

# Table I as it is printed: a row for each map of S2, a column for each map of C3.
TABLE_1 = (
    "X...XXX..XXXX.XX",
    "XX...XXX..XXXX.X",
    "XXX...XXX..X.XXX",
    ".XXX..XXXX..X.XX",
    "..XXX..XXXX.XX.X",
    "...XXX..XXXX.XXX",
)


@pytest.mark.parametrize(
    ("part", "parameters"),
    [("c1", 156), ("s2", 12), ("c3", 1_516), ("s4", 32), ("c5", 48_120), ("f6", 10_164), ("output", 850)],
)
def test_parameters_of_each_layer_are_those_of_the_paper(part, parameters):
    assert sum(p.numel() for p in getattr(lenet5(), part).parameters()) == parameters


def test_the_paper_counts_sixty_thousand_without_the_output():
    network = lenet5(classes=26)
    assert sum(p.numel() for p in network.parameters()) == 60_000 + 85 * 26


@pytest.mark.parametrize("side", [28, 32])
def test_multiply_accumulates_are_the_connections_without_the_biases(side):
    # 28x28x6 of the connections of C1 are biases, and 10x10x16 of those of C3
    c1, c3 = 122_304 - 28 * 28 * 6, 151_600 - 10 * 10 * 16
    assert count(lenet5(), (1, side, side)).macs == c1 + c3 + 48_000 + 10_080 + 840


def test_other_channels_change_the_first_layer_only():
    grey, colour = ({k: v.shape for k, v in lenet5(channels=c).state_dict().items()} for c in (1, 3))
    assert {key for key in grey if grey[key] != colour[key]} == {"c1.weight"}


def test_squash_by_hand():
    assert squash(torch.tensor([0.0, 1, -1, 100])).tolist() == pytest.approx([0, 1, -1, 1.7159], abs=1e-4)


def test_subsampling_by_hand():
    layer = Subsampling(2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([2.0, -1]))
        layer.bias.copy_(torch.tensor([0.5, 7]))
    x = torch.tensor([[[[1.0, 2, 0], [3, 5, 0]], [[1, 1, 0], [1, 2, 0]]]])
    assert layer(x).flatten().tolist() == [22.5, 2]  # 2 x 11 + 0.5 and 7 - 5; the odd column is left out


def test_each_map_of_c3_reads_the_maps_of_table_1():
    layer, x = PartialConv2d(), torch.randn(1, 6, 5, 5, requires_grad=True)
    for column in range(16):
        (gradient,) = torch.autograd.grad(layer(x)[0, column, 0, 0], x)
        read = gradient[0].flatten(1).ne(0)
        assert (read.all(1) == read.any(1)).all()
        assert "".join("X" if any_ else "." for any_ in read.any(1)) == "".join(
            row[column] for row in TABLE_1
        )


def forward_again(state, x):
    """The network from its state dict, one map at a time, for a 32x32 picture of one channel."""

    def f(a):
        return 1.7159 * torch.tanh(2 * a / 3)

    def conv(x, kernel):
        return F.conv2d(x[None, None], kernel[None, None])[0, 0]

    def subsample(maps, at):
        halves = [m[0::2, 0::2] + m[0::2, 1::2] + m[1::2, 0::2] + m[1::2, 1::2] for m in maps]
        return [
            f(w * m + b) for m, w, b in zip(halves, state[f"{at}.weight"], state[f"{at}.bias"], strict=True)
        ]

    c1 = zip(state["c1.weight"][:, 0], state["c1.bias"], strict=True)
    s2 = subsample([f(conv(x, kernel) + bias) for kernel, bias in c1], "s2")
    sums = [bias.expand(10, 10) for bias in state["c3.bias"]]
    kernels = iter(state["c3.products.weight"][:, 0])
    for row, given in zip(TABLE_1, s2, strict=True):
        sums = [
            s + conv(given, next(kernels)) if mark == "X" else s for mark, s in zip(row, sums, strict=True)
        ]
    s4 = torch.stack(subsample([f(s) for s in sums], "s4")).flatten()
    c5 = f(state["c5.weight"].flatten(1) @ s4 + state["c5.bias"])
    f6 = f(state["f6.weight"] @ c5 + state["f6.bias"])
    return state["output.weight"] @ f6 + state["output.bias"]


def test_forward_pass_equals_the_one_written_map_by_map():
    network, x = lenet5().double(), torch.randn(3, 1, 32, 32, dtype=torch.float64)
    state = network.state_dict()
    expected = torch.stack([forward_again(state, picture[0]) for picture in x])
    torch.testing.assert_close(network(x), expected, rtol=1e-10, atol=1e-10)


def test_small_pictures_get_a_frame_of_their_edge():
    network, x = lenet5().double(), torch.randn(2, 1, 28, 28, dtype=torch.float64)
    at = torch.arange(-2, 30).clamp(0, 27)
    torch.testing.assert_close(network(x), network(x[:, :, at][..., at]), rtol=1e-10, atol=1e-10)


def test_weights_start_uniform_within_2_4_over_fan_in():
    torch.manual_seed(0)
    network = LeNet5(1, 10)
    for part, fan_in in (
        (network.c1, 25),
        (network.s2, 4),
        (network.s4, 4),
        (network.c5, 400),
        (network.f6, 120),
    ):
        bound = 2.4 / fan_in
        assert all(p.abs().max() <= bound for p in part.parameters())
        assert max(p.abs().max() for p in part.parameters()) > 0.8 * bound
    fans_in = torch.tensor([row.count("X") for row in zip(*TABLE_1, strict=True)])
    readers = [column for row in TABLE_1 for column, mark in enumerate(row) if mark == "X"]
    bounds = 2.4 / (25 * fans_in[readers])
    share = network.c3.products.weight.flatten(1).abs().amax(1) / bounds
    assert share.max() <= 1 + 1e-6
    assert share.min() > 0.7
    assert (network.c3.bias.abs() <= 2.4 / (25 * fans_in)).all()


@pytest.mark.parametrize("sides", [(27, 28), (28, 32), (33, 33), (8, 8)])
def test_other_sizes_are_refused(sides):
    with pytest.raises(ShapeError, match=f"must be 28 or 32, got {sides[0]}x{sides[1]}"):
        lenet5()(torch.zeros(2, 1, *sides))


def test_no_classes_are_refused():
    with pytest.raises(UsageError, match="at least 1"):
        lenet5(classes=0)


def test_it_learns_scanned_digits():
    torch.manual_seed(0)
    images = parts().train
    x = F.interpolate((images.pixels.float() - 78) / 96, size=(32, 32), mode="bilinear")
    y, learnt = images.labels, slice(0, 1200)
    network = lenet5()
    adam = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(2):
        for some in torch.randperm(1200).split(50):
            adam.zero_grad()
            F.cross_entropy(network(x[learnt][some]), y[learnt][some]).backward()
            adam.step()
    with torch.no_grad():
        wrong = (network(x[1200:]).argmax(1) != y[1200:]).float().mean().item()
    assert wrong < 0.3  # 0.9 by chance
