"""What lies between packed convolutions: joined where it can be, and always with the numbers of floats."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_made import filled, folded, maps, packed_as_floats
from torch import nn

from concord.layers import pack
from concord.layers.binary.convolution import BWNConv2d, XNORConv2d
from concord.layers.binary.dense import XNORLinear


def binary(channels, filters=None, kernel=3, **options):
    return XNORConv2d(channels, filters or channels, kernel, **{"padding": 1, "bias": False, **options})


class Wired(nn.Module):
    """Modules by name, and a function of them and x."""

    def __init__(self, forward, **modules):
        super().__init__()
        self.own = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.own(self, x)


def norm_of(factors, biases, means, variances):
    norm = nn.BatchNorm2d(len(factors)).eval()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor(factors))
        norm.bias.copy_(torch.tensor(biases))
        norm.running_mean.copy_(torch.tensor(means))
        norm.running_var.copy_(torch.tensor(variances))
    return norm


def test_signs_after_batch_normalisation_by_hand():
    # gamma (x - mu) / 2 + beta with x = 3: 1.5 - 1 > 0; -1.5 + 1 < 0; 0 + 1; 0 - 1; 0 is not negative
    norm = norm_of([1.0, -1.0, 0.0, 0.0, 1.0], [-1.0, 1.0, 1.0, -1.0, 0.0], [0, 0, 0, 0, 3], [4 - 1e-5] * 5)
    own = nn.Sequential(norm, XNORConv2d(5, 5, 1, groups=5, bias=False))
    nn.init.constant_(own[1].weight, 2.0)
    made = packed_as_floats(own, torch.full((1, 5, 1, 1), 3.0), maps(2, 5, 4, 4))
    assert made(torch.full((1, 5, 1, 1), 3.0)).flatten().tolist() == [2, -2, 2, -2, 2]
    below = torch.full((1, 5, 1, 1), 3.0).nextafter(torch.tensor(0.0))
    assert made(below).flatten().tolist() == [2, -2, 2, -2, -2]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())


@pytest.mark.parametrize("seed", range(4))
def test_batch_normalisation_joins_the_convolutions_on_both_its_sides(seed):
    own = filled(nn.Sequential(binary(70, 66), nn.BatchNorm2d(66), binary(66, 40, stride=2)), seed)
    made = packed_as_floats(
        own, maps(2, 70, 7, 6, seed=seed), maps(1, 70, 5, 5).contiguous(memory_format=torch.channels_last)
    )
    assert folded(made) == {"0": ("out_cut", "bits"), "2": ("maps",)}


def test_thresholds_that_nothing_or_everything_passes():
    norm = norm_of(
        [0.0, 0.0, 0.0, -0.0, 1e-30, -1e-30, 1e30, 1.0],
        [2.0, -2.0, -0.0, 0.0, -1e30, 1e30, -1e30, 1e30],
        [0.5] * 8,
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1e-30, 1e30],
    )
    own = nn.Sequential(binary(64, 8), norm, binary(8, 8), nn.BatchNorm2d(8), binary(8, 3))
    filled(own[0])
    filled(own[2])
    own.eval()
    made = packed_as_floats(own, maps(2, 64, 5, 5), maps(2, 64, 5, 5, seed=1))
    (cut,) = (m.out_cut for name, m in made.named_modules() if name == "0")
    assert {float("inf"), -float("inf")} <= set(cut.tolist())


def block(self, x):
    """Bi-Real: a shortcut around each binary convolution, with batch normalisation."""
    x = self.norm1(self.conv1(x)) + x
    return self.norm2(self.conv2(x)) + x


def own_order(self, x):
    """The same with batch normalisation before the sign, and the shortcut first in the sum."""
    x = x + self.conv1(self.norm1(x))
    return x + self.conv2(self.norm2(x))


def in_place(self, x):
    x = x * 1
    x += self.conv1(self.norm1(x))
    y = self.norm2(self.conv2(x))
    y += x
    return y


@pytest.mark.parametrize("forward", [block, own_order, in_place])
@pytest.mark.parametrize("channels", [64, 72])
def test_shortcuts_join_the_convolutions(forward, channels):
    modules = {"conv1": binary(channels), "norm1": nn.BatchNorm2d(channels)}
    modules |= {"conv2": binary(channels), "norm2": nn.BatchNorm2d(channels)}
    own = filled(Wired(forward, **modules))
    made = packed_as_floats(own, maps(2, channels, 5, 6))
    assert folded(made)["conv1"][-1] == "both"
    assert not any("add" in node.name for node in made.graph.nodes)


def test_a_convolution_whose_input_is_its_shortcut_too():
    def forward(self, x):
        y = self.norm1(self.conv1(x))
        return self.conv2(y) + y

    own = filled(Wired(forward, conv1=binary(64), norm1=nn.BatchNorm2d(64), conv2=binary(64)))
    made = packed_as_floats(own, maps(2, 64, 5, 6))
    assert {name: gives for name, (*_, gives) in folded(made).items()} == {"conv1": "both", "conv2": "maps"}


def test_a_pooled_map_that_is_its_own_shortcut():
    def forward(self, x):
        y = self.pool(self.conv1(x))
        return self.conv2(y) + y

    own = filled(Wired(forward, conv1=binary(64), pool=nn.MaxPool2d(2), conv2=binary(64)))
    packed_as_floats(own, maps(2, 64, 6, 6))


@pytest.mark.parametrize(
    "pool",
    [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d((1, 3), (2, 1), (0, 1), dilation=(1, 2))],
)
@pytest.mark.parametrize("sign", [-1, 1, 0])
def test_maxima_of_bits_are_those_of_floats(pool, sign):
    own = filled(nn.Sequential(binary(64, 70), pool, nn.BatchNorm2d(70), binary(70, 8)), 3)
    with torch.no_grad():
        own[2].weight.copy_(sign * own[2].weight.abs())
    made = packed_as_floats(own, maps(2, 64, 9, 8), maps(2, 64, 8, 9, seed=1))
    assert folded(made)["0"] == ("out_cut", "bits")


def test_a_pooling_that_is_called_in_several_places():
    def forward(self, x):
        x = self.pool(F.relu(self.stem(x)))
        x = self.pool(self.conv1(x))
        return self.pool(self.conv2(self.norm(x)))

    modules = {"stem": nn.Conv2d(3, 64, 3), "pool": nn.MaxPool2d(2), "norm": nn.BatchNorm2d(64)}
    own = filled(Wired(forward, **modules, conv1=binary(64), conv2=binary(64, 8)))
    made = packed_as_floats(own, maps(2, 3, 18, 18))
    assert folded(made)["conv1"] == ("out_cut", "bits")


def test_layers_in_a_chain_hand_on_bits():
    own = filled(
        nn.Sequential(
            binary(64, 130), nn.BatchNorm2d(130), nn.Dropout(0.5), binary(130, 64, kernel=1, padding=0),
            binary(64, 64, (3, 5), padding=(0, 2), padding_value=1, bias=True), nn.Identity(),
            binary(64, 5, padding=2),
        )
    )  # fmt: skip
    made = packed_as_floats(own, maps(3, 64, 6, 7))
    assert [gives for *_, gives in folded(made).values()] == ["bits", "bits", "bits", "maps"]


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({"scale_inputs": True}, "maps"),
        ({"groups": 2}, "maps"),
        ({"padding": "same", "kernel": 2}, "maps"),
        ({"padding": "same", "kernel": (4, 3)}, "maps"),
        ({"padding": "same", "kernel": 3, "dilation": 2}, "bits"),
        ({"padding_value": 1, "padding": 2}, "bits"),
        ({"stride": 2, "bias": True}, "bits"),
    ],
)
def test_layers_of_every_option_behind_batch_normalisation(options, given):
    made = [binary(64), nn.BatchNorm2d(64), binary(64, 66, **options), nn.BatchNorm2d(66), binary(66, 4)]
    packed = packed_as_floats(filled(nn.Sequential(*made)), maps(2, 64, 6, 5))
    assert folded(packed)["0"][-1] == given


def two_readers(same):
    def forward(self, x):
        y = self.conv(x)
        a = self.norm1(y)
        b = a if same else self.norm2(y)
        return self.left(a) + self.right(b) * 2 + y[:, :5]

    norms = {"norm1": nn.BatchNorm2d(64), "norm2": nn.BatchNorm2d(64)}
    return Wired(forward, conv=binary(64), **norms, left=binary(64, 5), right=binary(64, 5))


@pytest.mark.parametrize("same", [True, False])
def test_one_map_is_read_with_two_thresholds(same):
    made = packed_as_floats(filled(two_readers(same)), maps(2, 64, 5, 5))
    inside = {"left": "maps", "right": "maps"}
    assert {name: gives for name, (*_, gives) in folded(made).items()} == {"conv": "both", **inside}
    assert sum("cut" in names for names in folded(made).values()) == (0 if same else 1)


def test_one_map_is_read_with_two_paddings():
    def forward(self, x):
        y = self.conv(x)
        return self.left(y)[:, :, 1:-1, 1:-1] + self.right(y)[:, :, 2:-2, 2:-2]

    wide = {"left": binary(64, 5, padding=1), "right": binary(64, 5, padding=2)}
    packed_as_floats(filled(Wired(forward, conv=binary(64), **wide)), maps(2, 64, 6, 6))


def test_a_pooling_that_rounds_its_size_up_is_left_alone():
    own = filled(nn.Sequential(binary(64), nn.MaxPool2d(2, ceil_mode=True), binary(64, 5)))
    assert folded(packed_as_floats(own, maps(2, 64, 5, 7)))["0"] == ("maps",)


@pytest.mark.parametrize("same", [True, False])
def test_what_is_joined_does_not_depend_on_the_numbers(same):
    """A state dict fits a network whose thresholds, equal at the start, still are."""
    new, trained = pack(two_readers(same).eval()), pack(filled(two_readers(same)))
    new.load_state_dict(trained.state_dict())
    x = maps(2, 64, 5, 5)
    assert torch.equal(new(x), trained(x))


def test_a_layer_that_is_called_twice_is_left_alone():
    def forward(self, x):
        return self.norm(self.conv(self.norm(self.conv(x)))) + self.conv(input=x)

    own = filled(Wired(forward, conv=binary(64), norm=nn.BatchNorm2d(64)))
    assert folded(packed_as_floats(own, maps(2, 64, 5, 5))) == {"conv": ("maps",)}


def test_a_layer_that_is_called_once_by_place_and_once_by_name_is_left_alone():
    def forward(self, x):
        return self.norm(self.conv(x)) + self.conv(input=2 - x)

    own = filled(Wired(forward, conv=binary(64), norm=nn.BatchNorm2d(64)))
    assert folded(packed_as_floats(own, maps(2, 64, 5, 5))) == {"conv": ("maps",)}


class Shifted(nn.Module):
    def __init__(self, *shape):
        super().__init__()
        self.shift = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(1)))
        self.conv, self.next = binary(64), binary(64, 5)


class ByTensor(Shifted):
    def forward(self, x):
        return self.next(self.conv(x) + self.shift)


class ByNumber(Shifted):
    def forward(self, x):
        return self.next(self.conv(x) + x.shape[0] - 3.5)


class ByIntegers(Shifted):
    def forward(self, x):
        return self.next(self.conv(x) + (10 * x).long())


@pytest.mark.parametrize("shape", [(64, 1, 1), (1, 1, 6), (2, 64, 6, 6), (3, 1, 64, 6, 6)[1:]])
def test_sums_with_tensors_that_are_repeated(shape):
    packed_as_floats(ByTensor(*shape).eval(), maps(2, 64, 6, 6))


@pytest.mark.parametrize("kind", [ByNumber, ByIntegers])
def test_sums_with_other_things_than_maps_of_floats(kind):
    packed_as_floats(kind(1).eval(), maps(2, 64, 6, 6))


def change_before_the_sum(self, x):
    x = x * 1
    y = self.conv(x)
    x.relu_()
    return y + x


def change_after_the_norm(self, x):
    x = x * 1
    y = self.norm(x)
    F.relu(x, inplace=True)
    return self.conv(y) + x


def change_what_is_read_later(self, x):
    y = self.conv(x)
    z = self.relu(y.view(y.shape))
    return self.next(y - 1) + self.next(y) + z


def change_an_alias(self, x):
    x = z = x * 1
    x += self.conv(x)
    return x + self.next(z)


def change_a_view(self, x):
    y = self.conv(x)
    z = y.permute(0, 2, 3, 1)
    z += 100 * x.permute(0, 2, 3, 1)
    return self.next(y)


def change_behind_a_view(self, x):
    x = x * 1
    z = x.transpose(2, 3)
    x += self.conv(self.norm(x))
    return x + self.next(z)


def change_a_part(self, x):
    y = self.conv(x)
    y[:, 0] = -1
    return self.next(y)


@pytest.mark.parametrize(
    "forward",
    [
        change_before_the_sum,
        change_after_the_norm,
        change_what_is_read_later,
        change_an_alias,
        change_a_view,
        change_behind_a_view,
        change_a_part,
    ],
)
def test_values_that_are_changed_in_place_are_read_when_they_were(forward):
    modules = {"conv": binary(64), "next": binary(64), "norm": nn.BatchNorm2d(64)}
    packed_as_floats(filled(Wired(forward, **modules, relu=nn.ReLU(inplace=True))), maps(2, 64, 5, 5))


def test_a_network_that_branches_is_packed_layer_by_layer():
    def forward(self, x):
        if x.mean() > 0:
            x = self.norm(x)
        for _ in range(x.shape[-1] - 4):
            x = self.conv(self.norm(x))
        return x

    own = filled(Wired(forward, conv=binary(64), norm=nn.BatchNorm2d(64)))
    made = packed_as_floats(own, maps(2, 64, 6, 6), -maps(2, 64, 6, 6), maps(1, 64, 5, 5) + 3)
    assert folded(made) == {"conv": ("maps",)}


def test_a_dense_layer_takes_in_the_thresholds_before_it():
    own = filled(nn.Sequential(nn.Linear(5, 70), nn.BatchNorm1d(70), XNORLinear(70, 9), nn.BatchNorm1d(9)))
    made = packed_as_floats(own, maps(40, 5))
    assert [type(m).__name__ for m in made.children()] == ["Linear", "PackedLinear", "BatchNorm1d"]


STEPS = ["norm", "pool", "relu", "binary", "binary", "k", "groups", "real", "shortcut", "drop"]


class Drawn(nn.Module):
    """Layers in a random order, on 64 channels; some add what came before them."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps
        self.layers = nn.ModuleList(map(self.layer, steps))

    def layer(self, step):
        return {
            "norm": nn.BatchNorm2d(64),
            "pool": nn.MaxPool2d(3, 1, 1),
            "relu": nn.ReLU(inplace=True),
            "binary": binary(64),
            "k": binary(64, scale_inputs=True, bias=True),
            "groups": binary(64, groups=4, kernel=(1, 2), padding="same"),
            "real": BWNConv2d(64, 64, 1),
            "shortcut": binary(64, padding_value=1),
            "drop": nn.Dropout(),
        }[step]

    def forward(self, x):
        x = x * 1
        for step, layer in zip(self.steps, self.layers, strict=True):
            x = layer(x) + x if step == "shortcut" else layer(x)
        return x


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(STEPS), min_size=3, max_size=9), st.integers(0, 99))
def test_random_networks_give_the_same_numbers(steps, seed):
    if not {"binary", "k", "groups", "real", "shortcut"} & {*steps}:
        return
    own = filled(Drawn(steps), seed)
    last = maps(2, 64, 4, 5, seed=seed).contiguous(memory_format=torch.channels_last)
    packed_as_floats(own, last)
