"""The networks of ImageNet: torchvision's on the list, and the rows of the ResNeXt paper."""

import pytest
import torch
import torchvision
from torch import nn

from concord import zoo
from concord.cost.count import count
from concord.errors import ShapeError, UsageError
from concord.zoo import library
from concord.zoo.registry import ENTRIES
from concord.zoo.resnext import DEPTH_50, Bottleneck2015, BottleneckNet, resnet50_2015, resnext50, resnext101

# Parameters and multiply-accumulates at 3x224x224 with 1000 classes.
COSTS = {
    "alexnet": (61_100_840, 714_188_480),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet50_2015": (25_557_032, 3_857_973_248),
    "resnext50": (25_028_904, 4_230_479_872),
    "resnext50_32x4d": (25_028_904, 4_230_479_872),
    "resnext101": (44_177_704, 7_969_996_800),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnext101_32x4d": (44_177_704, 7_969_996_800),
    "resnet200": (64_673_832, 15_007_481_856),
    "resnet101_1x100d": (85_611_336, 15_272_862_720),
    "resnext101_2x64d": (84_198_184, 15_123_087_360),
    "resnext101_64x4d": (83_455_272, 15_460_270_080),
    "densenet121": (7_978_856, 2_834_161_664),
    "densenet201": (20_013_928, 4_291_365_888),
}


def test_costs_of_the_table_to_the_last_unit():
    rows = {row["name"]: (row["parameters"], row["macs"]) for row in zoo.listing()}
    assert {name: rows[name] for name in COSTS} == COSTS


def test_rows_of_the_resnext_table_are_one_and_two_times_as_complex():
    one = [COSTS[name][1] for name in ("resnet101", "resnext101_32x4d")]
    two = [COSTS[n][1] for n in ("resnet200", "resnet101_1x100d", "resnext101_2x64d", "resnext101_64x4d")]
    assert max(one) / min(one) < 1.022
    assert max(two) / min(two) < 1.031
    assert 1.87 < min(two) / max(one) < max(two) / min(one) < 2


def filled(network):
    """Weights of about He's size, normalisations that are all different: none could change places unseen."""
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for numbers in network.state_dict().values():
        if numbers.ndim > 1:
            bound = (6 / numbers[0].numel()) ** 0.5
            numbers.uniform_(-bound, bound, generator=generator)
        else:
            numbers.copy_(torch.rand(numbers.shape, generator=generator) + 0.5)
    return network.eval()


@torch.no_grad()
def assert_equal_outputs(name, build_other):
    """Parameters and buffers copied over in order, random input."""
    with torch.device("meta"):
        ours, theirs = ENTRIES[name].build(), build_other()
    ours, theirs = ours.to_empty(device="cpu").eval(), filled(theirs)
    for mine, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        mine.copy_(other)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = theirs(x)
    assert expected.isfinite().all()
    assert expected.std() > 0.1
    torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet200", "resnext101_32x4d", "resnext101_64x4d"])
def test_outputs_equal_those_of_timm(name):
    timm = pytest.importorskip("timm")
    assert_equal_outputs(name, lambda: timm.create_model(name))


@pytest.mark.parametrize(
    ("name", "cardinality", "width"),
    [("resnet101", 1, 64), ("resnet101_1x100d", 1, 100), ("resnext101_2x64d", 2, 64)],
)
def test_outputs_equal_those_of_torchvisions_class(name, cardinality, width):
    """The rows of table 4 that timm has not, with the sizes of the paper's table 1."""
    block, form = torchvision.models.resnet.Bottleneck, {"groups": cardinality, "width_per_group": width}
    assert_equal_outputs(name, lambda: torchvision.models.ResNet(block, (3, 4, 23, 3), **form))


def test_equal_seeds_give_torchvisions_own_start():
    states = []
    for build in (resnext50, torchvision.models.resnext50_32x4d):
        torch.manual_seed(0)
        states.append(build().state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(("cardinality", "width"), [(1, 64), (2, 40), (4, 24), (8, 14), (32, 4)])
def test_cardinality_and_width_of_table_2_keep_the_complexity(cardinality, width):
    with torch.device("meta"):
        network = resnext50(cardinality=cardinality, width=width)
    # every form has about 4.1 billion and 25 million
    assert network.layer1[0].conv2.weight.shape == (cardinality * width, width, 3, 3)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(25.3e6, rel=0.02)
    assert count(network, (3, 224, 224)).macs == pytest.approx(4.15e9, rel=0.03)


def test_stride_of_2015_looks_at_every_second_position_only():
    torch.manual_seed(0)
    shortcut = nn.Conv2d(8, 16, 1, stride=2)
    block = Bottleneck2015(8, 4, 2, shortcut).eval()
    later = torchvision.models.resnet.Bottleneck(8, 4, 1, nn.Conv2d(8, 16, 1)).eval()
    later.load_state_dict(block.state_dict())
    x = torch.randn(2, 8, 10, 7)
    torch.testing.assert_close(block(x), later(x[:, :, ::2, ::2]))


def test_resnet50_2015_has_the_numbers_of_resnet50_and_strides_elsewhere():
    with torch.device("meta"):
        network, other = resnet50_2015(), torchvision.models.resnet50()
    shapes = [{key: t.shape for key, t in n.state_dict().items()} for n in (network, other)]
    assert shapes[0] == shapes[1]
    strides = {path: m.stride for path, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    halving = {path for path, stride in strides.items() if stride == (2, 2)}
    first = {f"layer{i}.0.{conv}" for i in (2, 3, 4) for conv in ("conv1", "downsample.0")}
    assert halving == {"conv1"} | first


def test_another_number_of_channels_changes_the_stem_only():
    torch.manual_seed(0)
    network = BottleneckNet(5, 10, DEPTH_50, cardinality=2, width=8)
    assert network.conv1.weight.shape == (64, 5, 7, 7)
    assert network.conv1.weight.std().item() == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.02)  # He, fan-out
    assert network.eval()(torch.randn(2, 5, 40, 33)).shape == (2, 10)


@pytest.mark.parametrize("sides", [(0, 32), (32, 0)])
def test_pictures_without_pixels_are_refused(sides):
    with torch.device("meta"), pytest.raises(ShapeError, match=f"at least 1, got {sides[0]}x{sides[1]}"):
        resnext50()(torch.empty(2, 3, *sides))


def test_cardinality_zero_is_refused():
    with pytest.raises(UsageError, match="at least 1"):
        resnext101(cardinality=0)


# --- torchvision's own --------------------------------------------------------

NAMES = [name for networks in library.PAPERS.values() for name in networks]


@pytest.mark.parametrize("name", NAMES)
def test_stated_parameters_are_those_of_torchvisions_weights(name):
    weights = torchvision.models.get_model_weights(name).DEFAULT
    assert ENTRIES[name].parameters == weights.meta["num_params"]


def test_a_network_of_the_list_is_torchvisions():
    torch.manual_seed(0)
    ours = zoo.build("squeezenet1_1", channels=3, classes=7)
    torch.manual_seed(0)
    theirs = torchvision.models.squeezenet1_1(num_classes=7)
    assert type(ours) is type(theirs)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_torchvisions_have_no_sizes():
    with pytest.raises(UsageError, match="expected resnet18 with no sizes in brackets"):
        zoo.build("resnet18(width=2)", channels=3, classes=7)
