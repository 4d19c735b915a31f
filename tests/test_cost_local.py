"""Receptive fields from end to end: what ``count`` says of every unit is what its gradient reaches."""

import pytest
import torch
import torch.nn.functional as F
from cost_made import Calls
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from concord.cost import walk
from concord.cost.count import count
from concord.cost.field import Field
from concord.cost.local_axes import broadcast, reshaped

LONGEST = 20  # units of a map along one axis


class Copied(nn.Module):
    """A network, and one operation that shows the fields of its output."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, *inputs):
        return self.network(*inputs) * 3


def positive(network):
    """All weights are positive, so that no two paths cancel."""
    network = network.double().eval()
    with torch.no_grad():
        for p in network.parameters():
            p.uniform_(0.1, 1)
    return network


def fields(network, *inputs):
    cost = count(Copied(network), *inputs)
    last = [row for row in cost.layers if not row.type.endswith("not used")][-1]
    assert (cost.device, last.type) == ("meta", "mul")
    return last.fields


def reached(network, shape, axis, seen):
    """First and last position of axis ``seen`` of the input with a gradient, for each unit along ``axis``."""
    x = torch.rand(1, *shape, dtype=torch.float64).add(0.1).requires_grad_()
    y = network(x)
    y = y * torch.rand_like(y).add(0.1)  # the sum of a softmax has no gradient
    places = []
    for unit in range(y.shape[axis]):
        (gradient,) = torch.autograd.grad(y.select(axis, unit).sum(), x, retain_graph=True)
        hit = (gradient.movedim(seen, 0).flatten(1).abs().amax(1) > 1e-12).nonzero()[:, 0].tolist()
        places.append((hit[0], hit[-1]) if hit else None)
    return places


def regions(field):
    return [field.region(i) for i in range(field.units)]


def check(network, shape, local=None):
    """Every axis that is said to be local reaches as far as it is said to, no more and no less."""
    network = positive(network)
    told = fields(network, shape)
    if local is not None:
        assert [axis for axis, field in enumerate(told) if field] == local
    blind = any(not any(regions(field)) for field in told if field)  # along one axis only padding is read
    for axis, field in enumerate(told):
        if field is not None and not blind:
            assert regions(field) == reached(network, shape, axis, field.source[1])
    return told


# --- one layer or operation at a time -------------------------------------------------------

SAME = [2, 3]  # H and W are local before and after
PICTURE = (2, 9, 12)


@pytest.mark.parametrize(
    ("layer", "local"),
    [
        (nn.Conv2d(2, 3, 3, 2, 1), SAME),
        (nn.Conv2d(2, 2, (1, 4), (3, 1), (0, 2), groups=2), SAME),
        (nn.Conv2d(2, 3, 3, dilation=2), SAME),
        (nn.Conv2d(2, 3, 4, padding="same"), SAME),
        (nn.Conv2d(2, 3, 5, padding="same"), SAME),
        (nn.ConvTranspose2d(2, 3, 3, (2, 1), 1, output_padding=(1, 0)), SAME),
        (nn.ConvTranspose2d(2, 2, (2, 1), (1, 3), groups=2), SAME),
        (nn.AvgPool2d((2, 3), ceil_mode=True), SAME),
        (nn.AvgPool2d(3, 2, 1), SAME),
        (nn.AdaptiveAvgPool2d((4, 5)), SAME),
        (nn.LPPool2d(1, (3, 2)), SAME),
        (nn.Upsample(scale_factor=2), SAME),
        (nn.Upsample(scale_factor=(1.5, 2.5)), SAME),
        (nn.Upsample((4, 17), mode="nearest-exact"), SAME),
        (nn.Upsample(scale_factor=2, mode="bilinear"), SAME),
        (nn.Upsample((5, 19), mode="bilinear", align_corners=True), SAME),
        (nn.ZeroPad2d((1, -2, 0, 3)), SAME),
        (nn.ConstantPad2d(2, 0.5), SAME),
        (nn.PixelUnshuffle(3), SAME),
        (nn.BatchNorm2d(2), SAME),
        (nn.Sigmoid(), SAME),
        (nn.PReLU(2), SAME),
        (nn.Dropout2d(), SAME),
        (nn.ChannelShuffle(2), SAME),
        (nn.GLU(1), SAME),
        (Calls(lambda n, x: x[:, :, 2:-1:3, 1::2]), SAME),
        (Calls(lambda n, x: x[:, 1:, -4:]), SAME),
        (Calls(lambda n, x: x.narrow(3, 2, 5)), SAME),
        (Calls(lambda n, x: x.transpose(2, 3)), SAME),
        (Calls(lambda n, x: x.permute(0, 3, 1, -2)), [1, 3]),
        (Calls(lambda n, x: x.movedim(1, -1)), [1, 2]),
        (Calls(lambda n, x: x[0]), [1, 2]),
        (Calls(lambda n, x: x[:, 0]), [1, 2]),
        (Calls(lambda n, x: x[:, :, 4]), [2]),
        (Calls(lambda n, x: x[:, None, ..., None]), [3, 4]),
        (Calls(lambda n, x: x[:, :, :1].squeeze(2)), [2]),
        (Calls(lambda n, x: x[:, :1].squeeze()), [0, 1]),
        (Calls(lambda n, x: x.view(1, 2, 1, 9, 12)), [3, 4]),
        (Calls(lambda n, x: x.reshape(2, 9, 12)), [1, 2]),
        (Calls(lambda n, x: x.flatten(2)), []),
        (Calls(lambda n, x: x.view(1, 2, 9, 3, 4)), [2]),
        (Calls(lambda n, x: x.unflatten(1, (1, 2)).transpose(1, 2).flatten(1, 2)), SAME),
        (Calls(lambda n, x: x.mean(2)), [2]),
        (Calls(lambda n, x: x.sum(3, keepdim=True)), [2]),
        (Calls(lambda n, x: x.sum((-1, 1))), [1]),
        (Calls(lambda n, x: x.sum()), []),
        (Calls(lambda n, x: x.std(1)), [1, 2]),
        (Calls(lambda n, x: x.logsumexp(1)), [1, 2]),
        (Calls(lambda n, x: x.norm(dim=1, keepdim=True)), SAME),
        (Calls(lambda n, x: F.normalize(x, p=1, dim=2)), [3]),
        (Calls(lambda n, x: x.cumsum(3)), [2]),
        (Calls(lambda n, x: x.flip(3)), []),
        (Calls(lambda n, x: x[:, [1, 0]]), SAME),
        (Calls(lambda n, x: x[:, :, torch.tensor([3, 1], device=x.device)]), [3]),
        (Calls(lambda n, x: x.index_select(3, torch.arange(4, device=x.device))), [2]),
        (Calls(lambda n, x: x[:, :, [1, 2], [3, 4]]), []),
        (Calls(lambda n, x: x.roll(1, 2)), []),
        (Calls(lambda n, x: x.unsafe_chunk(2, 1)[1]), SAME),
        (Calls(lambda n, x: x.unsafe_split_with_sizes([5, 4], 2)[1]), [3]),
        (Calls(lambda n, x: torch.cat([x, x[:, :1]], 1)), SAME),
        (Calls(lambda n, x: torch.cat([x, x], 2)), [3]),
        (Calls(lambda n, x: torch.stack([x, 2 * x], 1)), [3, 4]),
        (Calls(lambda n, x: torch.stack([x, 2 * x])), [3, 4]),
        (nn.Sequential(Calls(lambda n, x: x.permute(0, 2, 3, 1)), nn.LayerNorm(2)), [1, 2]),
        (nn.Sequential(Calls(lambda n, x: x.permute(0, 2, 3, 1)), nn.LayerNorm((12, 2))), [1]),
        (Calls(lambda n, x: torch.stack([x, x], -1).sum(-1)), SAME),
        (Calls(lambda n, x: x[:, [1, 0, 1]]), SAME),
        (Calls(lambda n, x: x[:, :, [3, 0]]), [3]),
        (Calls(lambda n, x: x[:, :, [3, 0], [1, 2]]), []),
        (Calls(lambda n, x: x[:, [[1, 0], [0, 1]]]), []),
        (Calls(lambda n, x: x.index_select(1, torch.tensor([1, 0], device=x.device))), SAME),
        (Calls(lambda n, x: x.chunk(3, 3)[1]), [2]),
        (Calls(lambda n, x: x.split([1, 1], 1)[1]), SAME),
        (Calls(lambda n, x: x.unbind(1)[1]), []),
        (Calls(lambda n, x: x.expand(3, -1, -1, -1)), SAME),
        (Calls(lambda n, x: x.contiguous(memory_format=torch.channels_last).clone()), SAME),
        (Calls(lambda n, x: x + x.mean(2, keepdim=True)), [3]),
        (Calls(lambda n, x: x * x.mean((2, 3), keepdim=True)), []),
        (Calls(lambda n, x: x + torch.ones(9, 1, device=x.device)), SAME),
        (Calls(lambda n, x: torch.where(x > 0, x, x[..., :1])), [2]),
        (Calls(lambda n, x: x[:, :, :1] + torch.ones(5, 1, device=x.device)), [3]),
        (Calls(lambda n, x: x @ torch.ones(12, 4, device=x.device, dtype=x.dtype)), []),
        (Calls(lambda n, x: x.mT @ x), []),
        (nn.InstanceNorm2d(2), []),
        (nn.GroupNorm(1, 2), []),
        (nn.BatchNorm2d(2, track_running_stats=False), []),
        (nn.Softmax(1), SAME),
        (nn.Softmax(2), [3]),
        (nn.Flatten(), []),
        (nn.Sequential(nn.Flatten(), nn.Linear(216, 5)), []),
        (nn.Unfold(3), []),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("known", [True, False])  # by rules of layers, or operation by operation
def test_every_unit_reaches_exactly_its_region(layer, local, known, monkeypatch):
    if not known:
        monkeypatch.setattr(walk, "LEAVES", {})
    check(layer, PICTURE, local)


@pytest.mark.parametrize(
    ("layer", "shape", "local"),
    [
        (nn.Conv1d(2, 3, 3, 2), (2, 13), [2]),
        (nn.AvgPool1d(3, 2, 1), (2, 13), [2]),
        (nn.AdaptiveAvgPool1d(5), (2, 13), [2]),
        (nn.ConvTranspose1d(2, 1, 4, 3), (2, 5), [2]),
        (nn.Upsample(scale_factor=2, mode="linear"), (2, 7), [2]),
        (nn.Conv3d(2, 3, (2, 3, 1), padding=(0, 1, 0)), (2, 5, 6, 4), [2, 3, 4]),
        (nn.AvgPool3d((1, 2, 2)), (2, 5, 6, 4), [2, 3, 4]),
        (nn.AdaptiveAvgPool3d((2, 6, 3)), (2, 5, 6, 4), [2, 3, 4]),
        (nn.Upsample((7, 6, 9), mode="trilinear"), (2, 5, 6, 4), [2, 3, 4]),
        (nn.Upsample((7, 6, 9)), (2, 5, 6, 4), [2, 3, 4]),
        (nn.Upsample((7, 6, 9), mode="nearest-exact"), (2, 5, 6, 4), [2, 3, 4]),
        (nn.Upsample(9, mode="nearest-exact"), (2, 4), [2]),
        (nn.Upsample(9), (2, 4), [2]),
        (nn.PixelShuffle(3), (9, 4, 5), [2, 3]),
        (nn.Linear(4, 3), (4,), []),
        (nn.Conv2d(2, 3, 3, padding=1), (2, 1, 7), [2, 3]),
    ],
)
def test_other_numbers_of_axes(layer, shape, local):
    check(layer, shape, local)


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_mirrored_borders_under_a_window(mode):
    layers = [nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 1, 5, padding=2, padding_mode=mode)]
    check(nn.Sequential(*layers), PICTURE, SAME)


def test_maximum_pooling_sees_what_average_pooling_sees():
    for maximum, average in [
        (nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1)),
        (nn.MaxPool2d((2, 3), ceil_mode=True), nn.AvgPool2d((2, 3), ceil_mode=True)),
        (nn.AdaptiveMaxPool2d(4), nn.AdaptiveAvgPool2d(4)),
    ]:
        assert fields(maximum, PICTURE) == fields(average, PICTURE)
    dilated, spread = nn.MaxPool2d(3, 1, dilation=2), nn.Conv2d(2, 2, 3, dilation=2)
    assert fields(dilated, PICTURE) == fields(spread, PICTURE)
    assert fields(nn.MaxPool1d(3, 2), (2, 9)) == fields(nn.AvgPool1d(3, 2), (2, 9))
    assert fields(nn.MaxPool3d(2), (2, 4, 4, 6)) == fields(nn.AvgPool3d(2), (2, 4, 4, 6))


# --- graphs -------------------------------------------------------------------------------


def conv(c_in, c_out, k=3, s=1):
    return nn.Sequential(nn.Conv2d(c_in, c_out, k, s, k // 2), nn.BatchNorm2d(c_out), nn.ReLU())


def residual(network, x):
    y = network.two(network.one(x))
    y += network.short(x)
    return F.relu(y, inplace=True)


def dense(network, x):
    y = torch.cat([x, network.one(x)], 1)
    return torch.cat([y, network.two(y)], 1)


def inception(network, x):
    return torch.cat([network.one(x), network.two(network.one(x)), F.avg_pool2d(x, 3, 1, 1)], 1)


def shuffled(network, x):
    a, b = x.chunk(2, 1)
    y = torch.cat([a, network.one(b)], 1)
    return y.view(1, 2, -1, *y.shape[2:]).transpose(1, 2).reshape(y.shape)


def channels_last(network, x):
    y = network.depthwise(x).permute(0, 2, 3, 1)
    return x + network.narrow(F.gelu(network.wide(y))).permute(0, 3, 1, 2)


GRAPHS = {
    "residual": Calls(residual, one=conv(2, 4, s=2), two=conv(4, 4)[:2], short=conv(2, 4, 1, 2)),
    "dense": Calls(dense, one=conv(2, 2), two=conv(4, 2)),
    "inception": Calls(inception, one=conv(2, 3), two=conv(3, 2, 5)),
    "shuffled": Calls(shuffled, one=conv(1, 1)),
    "channels last": Calls(
        channels_last,
        depthwise=nn.Conv2d(2, 2, 7, padding=3, groups=2),
        wide=nn.Linear(2, 8),
        narrow=nn.Linear(8, 2),
    ),
}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS.keys())
def test_blocks_of_known_networks(graph):
    told = check(graph, (2, 13, 16), SAME)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(walk, "LEAVES", {})
        by_operations = fields(graph, (2, 13, 16))
    if graph is not GRAPHS["channels last"]:  # a linear layer without its rule flattens the picture
        assert by_operations == told


class UNet(nn.Module):
    """Two 3x3 convolutions per level, 2x2 pooling, 2x2 up-convolution, crop and concatenate."""

    def __init__(self, c_in, width, depth, padding):
        super().__init__()
        self.down = self.pair(c_in, width, padding)
        if depth:
            self.inner = UNet(width, 2 * width, depth - 1, padding)
            self.up = nn.ConvTranspose2d(2 * width, width, 2, 2)
            self.out = self.pair(2 * width, width, padding)

    @staticmethod
    def pair(c_in, c_out, padding):
        layers = (
            nn.Conv2d(c_in, c_out, 3, padding=padding),
            nn.ReLU(),
            nn.Conv2d(c_out, c_out, 3, padding=padding),
        )
        return nn.Sequential(*layers, nn.ReLU())

    def forward(self, x):
        x = self.down(x)
        if not hasattr(self, "inner"):
            return x
        up = self.up(self.inner(F.avg_pool2d(x, 2)))
        margin = (x.shape[2] - up.shape[2]) // 2
        return self.out(torch.cat([F.pad(x, [-margin] * 4), up], 1))


@pytest.mark.parametrize(("padding", "side"), [(0, 60), (1, 48)])
def test_u_net(padding, side):
    told = check(UNet(1, 1, 2, padding), (1, side, side), SAME)
    assert (told[3].size, told[3].jump, told[3].units) == (44, 1, side if padding else side - 40)


def test_the_network_of_source_001():
    layers = [nn.Conv2d(c, n, 5, stride=2, padding=2) for c, n in ((3, 2), (2, 2), (2, 2))]
    features = [step for layer in layers for step in (layer, nn.ReLU())]
    told = check(nn.Sequential(*features), (3, 40, 64), SAME)
    assert [(field.size, field.jump, field.start) for field in told[2:]] == [(29, 8, 0), (29, 8, 0)]


# --- what ends it ----------------------------------------------------------------------------


class Excited(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Sequential(
            nn.Conv2d(channels, 2, 1), nn.ReLU(), nn.Conv2d(2, channels, 1), nn.Sigmoid()
        )

    def forward(self, x):
        return x * self.gate(self.pool(x))


def test_squeeze_and_excitation_ends_it():
    network = nn.Sequential(conv(2, 4), conv(4, 4), Excited(4), conv(4, 4))
    cost = count(network, (2, 16, 16))
    seen = cost.receptive_field
    assert (seen.path, seen.size, seen.stride) == ("1.2", (5, 5), (1, 1))
    assert cost.layers[-1].fields == (None,) * 4


def test_a_kernel_that_the_input_makes_ends_it():
    def dynamic(network, x):
        return F.conv2d(x, network.make(x.mean((2, 3))).view(2, 2, 3, 3), padding=1)

    assert fields(Calls(dynamic, make=nn.Linear(2, 36)), PICTURE) == (None,) * 4


def test_attention_ends_it():
    def attended(network, x):
        words = x.flatten(2).transpose(1, 2)
        return network.mix(words, words, words)[0].transpose(1, 2).view(x.shape) + x

    assert fields(Calls(attended, mix=nn.MultiheadAttention(2, 1)), PICTURE) == (None,) * 4


def test_parts_written_over_by_something_wider_end_it():
    """A sum of the input and a map of which a part sees more must not be taken for the input."""

    def written(network, x):
        y = x.clone()
        y[:, :1] = network.one(x)[:, :1]
        return x + y

    def filled(network, x):
        y = torch.zeros_like(x)
        y[..., 1:] = x[..., :-1]
        return x + y

    def masked(network, x):
        y = network.one(x)
        y[:, 0] = 0
        y[:, 1] *= 2
        return x + y

    def whole(network, x):
        y = torch.empty_like(x)
        y.view_as(y).copy_(network.one(x))
        return x + y

    one = nn.Conv2d(2, 2, 5, padding=2)
    for f in (written, filled, whole):
        assert fields(Calls(f, one=one), PICTURE) == (None,) * 4
    assert fields(Calls(masked, one=one), PICTURE)[3].size == 5


def test_wholes_written_over_keep_it():
    def added(network, x):
        y = torch.empty_like(x).copy_(network.one(x))
        y += network.two(x)
        y.mul_(2).add_(x)
        return y

    check(Calls(added, one=nn.Conv2d(2, 2, 1), two=nn.Conv2d(2, 2, 3, padding=1)), PICTURE, SAME)


def test_a_constant_map_beside_the_input_is_passed_over():
    def placed(network, x):
        rows = torch.arange(x.shape[2], device=x.device, dtype=x.dtype)
        place = rows[:, None].expand(1, 1, *x.shape[2:])
        return network.one(torch.cat([x, place], 1))

    told = check(Calls(placed, one=nn.Conv2d(3, 2, 3)), PICTURE, SAME)
    assert told[2].size == 3


def test_constants_through_layers_are_passed_over():
    def placed(network, x):
        return network.one(x) + network.norm(network.two(network.place))

    network = Calls(placed, one=nn.Conv2d(2, 2, 3), two=nn.Conv2d(1, 2, 3), norm=nn.BatchNorm2d(2))
    network.register_buffer("place", torch.rand(1, 1, 9, 12))
    assert check(network, PICTURE, SAME)[3].size == 3


def test_a_part_written_over_ends_nothing_elsewhere():
    def written(network, x):
        y = network.one(x)
        y[..., 1:] = x[..., :-1]
        network.last = y
        return x * 2

    assert fields(Calls(written, one=nn.Conv2d(2, 2, 1)), PICTURE)[3].size == 1


# --- inputs ------------------------------------------------------------------------------------


def test_words_are_local_in_time():
    def read(network, words):
        return network.window(network.meaning(words).transpose(1, 2))

    network = Calls(read, meaning=nn.Embedding(30, 4), window=nn.Conv1d(4, 5, 3, dilation=2))
    words = torch.zeros(1, 11, dtype=torch.long)
    assert regions(fields(network, words)[2]) == [(i, i + 4) for i in range(7)]
    assert fields(Calls(lambda n, x: x), torch.zeros(1, 11)) == (None, None)


def test_a_linear_layer_on_every_step_keeps_time():
    network = Calls(lambda n, x: n.one(x.transpose(1, 2)), one=nn.Linear(3, 5))
    assert [f and f.size for f in fields(network, (3, 7))] == [None, 1, None]
    functional = Calls(
        lambda n, x: F.linear(x.transpose(1, 2), n.one.weight, n.one.bias), one=nn.Linear(3, 5)
    )
    assert fields(functional, (3, 7)) == fields(network, (3, 7))


def test_two_inputs_do_not_mix():
    both = Calls(lambda n, a, b: n.one(a) + n.two(b), one=nn.Conv2d(2, 2, 3), two=nn.Conv2d(2, 2, 3))
    assert fields(both, PICTURE, PICTURE) == (None,) * 4
    one = Calls(lambda n, a, b: n.one(a) * n.two(b), one=nn.Conv2d(2, 2, 3), two=nn.Linear(4, 1))
    cost = count(one, PICTURE, (4,))
    assert (cost.receptive_field.path, cost.receptive_field.size) == ("one", (3, 3))


def test_samples_of_a_batch_see_the_same():
    layer = nn.Conv2d(2, 3, 3)
    assert fields(layer, torch.zeros(4, *PICTURE)) == fields(layer, PICTURE)


# --- the summary ---------------------------------------------------------------------------------


def test_the_summary_is_of_the_last_layer_with_most_local_axes():
    network = nn.Sequential(
        conv(2, 4, 3, 2), conv(4, 4, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    seen = count(network, (2, 16, 20)).receptive_field
    assert (seen.path, seen.size, seen.stride, seen.start) == ("1.2", (11, 11), (2.0, 2.0), (0.0, 0.0))
    assert [f and f.units for f in seen.fields] == [None, None, 8, 10]


def test_axes_may_differ():
    seen = count(nn.Conv2d(1, 1, (3, 5), (1, 2), (0, 2)), (1, 9, 9)).receptive_field
    assert (seen.size, seen.stride, seen.start) == ((3, 5), (1.0, 2.0), (1.0, 0.0))


def test_a_network_that_is_nowhere_local_has_no_field():
    assert count(nn.Linear(4, 3), (4,)).receptive_field is None
    assert count(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), (1, 2, 2)).receptive_field is None


# --- by hand ----------------------------------------------------------------------------------------


def test_axes_through_a_reshape_by_hand():
    t, u = Field.of_input("t", 6), Field.of_input("u", 4)
    assert reshaped((2, 6, 4), (None, t, u), (2, 24)) == (None, None)
    assert reshaped((2, 6, 4), (None, t, u), (2, 6, 2, 2)) == (None, t, None, None)
    assert reshaped((1, 6, 4), (None, t, u), (6, 4)) == (t, u)
    assert reshaped((1, 1, 4), (None, None, u), (1, 4)) == (None, u)
    assert reshaped((6, 4), (t, u), (1, 6, 1, 4, 1)) == (None, t, None, u, None)
    assert reshaped((3, 2, 4), (None, None, u), (6, 4)) == (None, u)
    assert reshaped((6, 4), (t, u), (4, 6)) == (None, None)
    assert reshaped((), (), (1, 1)) == (None, None)
    assert reshaped((1, 1), (None, None), ()) == ()


def test_broadcasting_by_hand():
    t, one = Field.of_input("t", 6), Field.of_input("t", 1)
    assert broadcast([(None, t), (t,)], (2, 6)) == (None, t)
    assert broadcast([(t, None), (t,)], (6, 6)) == (None, None)
    assert broadcast([(one,)], (6,)) == (None,)  # six units see one position; it does not move with them


# --- random networks ---------------------------------------------------------------------------------


def drawn_layer(draw, c_in):
    """A layer for maps of c_in channels, and its channels."""
    pair = st.tuples(st.integers(1, 4), st.integers(1, 3))
    (k, s), (m, t) = draw(pair), draw(pair)
    p, q = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    kind = draw(st.integers(0, 7))
    if kind == 0:
        return nn.ConvTranspose2d(c_in, 2, (k, m), (s, t), (min(p, k - 1), min(q, m - 1))), 2
    if kind == 1:
        return nn.AvgPool2d(
            (k, m), (s, t), (min(p, k // 2), min(q, m // 2)), ceil_mode=draw(st.booleans())
        ), c_in
    if kind == 2:
        modes = [{}, {"mode": "bilinear"}, {"mode": "bilinear", "align_corners": True}]
        return nn.Upsample((3 * k, 4 * m), **draw(st.sampled_from(modes))), c_in
    if kind == 3:
        return Calls(lambda n, x: F.softplus(x[:, :, min(p, x.shape[2] - 1) :: s, : m + 5])), c_in
    if kind == 4:
        return nn.AdaptiveAvgPool2d((k + 1, m + 2)), c_in
    return nn.Conv2d(c_in, 2, (k, m), (s, t), (p, q)), 2


def drawn_chain(draw, shape, layers):
    network, c = [], shape[0]
    for _ in range(draw(st.integers(1, layers))):
        layer, channels = drawn_layer(draw, c)
        try:
            with torch.no_grad():
                size = (
                    nn.Sequential(*network, layer).double()(torch.zeros(1, *shape, dtype=torch.float64)).shape
                )
        except RuntimeError:  # too small for it
            continue
        if min(size) >= 1 and max(size[2:]) <= LONGEST:
            network, c = [*network, layer], channels
    return nn.Sequential(*network), c


RANDOM = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@RANDOM
@given(st.data())
def test_every_unit_of_a_random_network_reaches_exactly_its_region(data):
    shape = data.draw(st.sampled_from([(1, 9, 12), (2, 14, 7)]))
    network, _ = drawn_chain(data.draw, shape, 4)
    told = check(network, shape)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(walk, "LEAVES", {})
        assert fields(network, shape) == told


@RANDOM
@given(st.data())
def test_no_unit_of_a_random_graph_reaches_beyond_its_region(data):
    shape = (1, 9, 12)
    branches = [drawn_chain(data.draw, shape, 2) for _ in range(2)]
    (one, a), (two, b) = branches

    def joined(network, x):
        y, z = network.one(x), network.two(x)
        h, w = min(y.shape[2], z.shape[2]), min(y.shape[3], z.shape[3])
        return network.after(torch.cat([y[..., :h, :w], z[..., -h:, -w:]], 1))

    after = nn.Conv2d(a + b, 1, data.draw(st.integers(1, 3)), padding=1)
    network = positive(Calls(joined, one=one, two=two, after=after))
    told = fields(network, shape)
    assert told[2] is not None
    assert told[3] is not None
    for axis in (2, 3):
        places = reached(network, shape, axis, axis)
        for place, region in zip(places, regions(told[axis]), strict=True):
            assert place is None or (region is not None and region[0] <= place[0] <= place[1] <= region[1])
