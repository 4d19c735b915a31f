"""The networks of Noel 2017: counts part by part, an independent forward pass, the traps of its code."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from concord.cost.count import count
from concord.errors import ShapeError, UsageError
from concord.layers.normalisation import ShiftBatchNorm2d
from concord.zoo.noel2017_code import Noel2017Code, Reduction, he_start, noel2017_m, noel2017_st
from concord.zoo.noel2017_text import Noel2017Text, noel2017_text_m, noel2017_text_st

ALL = [noel2017_st, noel2017_m, noel2017_text_st, noel2017_text_m]
SMALL = [noel2017_st, noel2017_text_st]
CODE = [noel2017_st, noel2017_m]


def size(part):
    return sum(p.numel() for p in part.parameters())


def shaken(network):
    """The same network with every number of its state random, and running variances positive."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(noise.abs() + 0.5 if name.endswith("var") else tensor + 0.3 * noise)
    return network


# --- counts -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "of_3_channels", "of_1_channel"),
    [
        (noel2017_st, 44_874, 44_730),
        (noel2017_m, 274_906, 274_618),
        (noel2017_text_st, 46_408, 46_260),
        (noel2017_text_m, 280_384, 280_092),
    ],
)
def test_totals(build, of_3_channels, of_1_channel):
    assert (size(build()), size(build(channels=1))) == (of_3_channels, of_1_channel)


@pytest.mark.parametrize(
    ("build", "units", "stem", "per_unit", "reductions", "head"),
    [
        (noel2017_st, 1, 224, [1_176, 4_656, 18_528], [4_008, 15_952], 330),
        (noel2017_m, 2, 448, [4_656, 18_528, 73_920], [15_952, 63_648], 650),
    ],
)
def test_parts_of_the_code_variant(build, units, stem, per_unit, reductions, head):
    network = build()
    assert (size(network.norm), size(network.stem), size(network.head)) == (0, stem, head)
    assert [len(brick) for brick in network.bricks] == [units + 1, units + 1, units]
    assert [[size(unit) for unit in brick[:units]] for brick in network.bricks] == [
        [n] * units for n in per_unit
    ]
    assert [size(brick[units]) for brick in network.bricks[:2]] == reductions


@pytest.mark.parametrize(
    ("build", "units", "stem", "per_unit", "doublings", "last_norm", "head"),
    [
        (noel2017_text_st, 1, 216, [1_184, 4_672, 18_560], [512, 2_048, 18_432], 128, 650),
        (noel2017_text_m, 2, 432, [4_672, 18_560, 73_984], [2_048, 8_192, 73_728], 256, 1_290),
    ],
)
def test_parts_of_the_text_variant(build, units, stem, per_unit, doublings, last_norm, head):
    network = build()
    assert (size(network.norm), size(network.stem)) == (6, stem)
    assert (size(network.last_norm), size(network.head)) == (last_norm, head)
    assert [[size(unit) for unit in brick[:units]] for brick in network.bricks] == [
        [n] * units for n in per_unit
    ]
    assert [size(brick[units]) for brick in network.bricks] == doublings


def macs_of_code(side, channels, f, units):
    """K^2 M N H W of each convolution, M N of the dense layer."""
    total = 9 * channels * f * side**2
    for brick in range(3):
        total += units * 2 * 9 * f * f * side**2
        if brick < 2:
            side, f = side // 2, 2 * f
            total += (9 * (f // 2) * f + 9 * f * f + 4 * (f // 2) * f) * side**2
    return total + f * 10


def macs_of_text(side, channels, f, units):
    total = 9 * channels * f * side**2
    for kernel, smaller in ((4, 2), (4, 2), (9, 1)):
        total += units * 2 * 9 * f * f * side**2
        side //= smaller
        total += kernel * f * 2 * f * side**2
        f *= 2
    return total + f * 10


@pytest.mark.parametrize(
    ("build", "by_hand", "f", "units", "at_32_colour", "at_28_grey"),
    [
        (noel2017_st, macs_of_code, 8, 1, 5_792_064, 4_321_728),
        (noel2017_m, macs_of_code, 16, 2, 36_881_024, 28_011_392),
        (noel2017_text_st, macs_of_text, 8, 1, 5_202_560, 3_870_464),
        (noel2017_text_m, macs_of_text, 16, 2, 34_522_368, 26_205_696),
    ],
)
def test_multiply_accumulates(build, by_hand, f, units, at_32_colour, at_28_grey):
    assert count(build(), (3, 32, 32)).macs == at_32_colour == by_hand(32, 3, f, units)
    assert count(build(channels=1), (1, 28, 28)).macs == at_28_grey == by_hand(28, 1, f, units)


# --- the forward pass, written again ------------------------------------------


def forward_again(state, x, *, text):
    """Either variant from its state dict alone, in evaluation, without one layer of torch.nn."""

    def norm(x, at):
        mean, var = state[f"{at}.running_mean"], state[f"{at}.running_var"]
        y = (x - mean[:, None, None]) / (var[:, None, None] + 0.001).sqrt()
        y = y * state[f"{at}.weight"][:, None, None] if f"{at}.weight" in state else y
        return y + state[f"{at}.bias"][:, None, None] if f"{at}.bias" in state else y

    def conv(x, at):
        return F.conv2d(x, state[f"{at}.weight"], state.get(f"{at}.bias"), padding="same")

    def quarter(x, at):  # 2x2, stride 2: four 1x1 convolutions, one per corner
        kernel, corners = state[f"{at}.weight"], [(i, j) for i in (0, 1) for j in (0, 1)]
        y = sum(F.conv2d(x[:, :, i::2, j::2], kernel[:, :, i, j, None, None]) for i, j in corners)
        return y + state[f"{at}.bias"][:, None, None] if f"{at}.bias" in state else y

    x = conv(norm(x, "norm"), "stem")
    for brick in range(3):
        paths = sorted({key.split(".")[2] for key in state if key.startswith(f"bricks.{brick}.")})
        for at in (f"bricks.{brick}.{path}" for path in paths):
            if f"{at}.shortcut.weight" in state:
                y = conv(norm(x, f"{at}.norm1").relu(), f"{at}.conv1")[:, :, 1::2, 1::2]
                x = quarter(x, f"{at}.shortcut") + conv(norm(y, f"{at}.norm2").relu(), f"{at}.conv2")
            elif f"{at}.conv1.weight" in state:
                y = conv(norm(x, f"{at}.norm1").relu(), f"{at}.conv1")
                x = x + conv(norm(y, f"{at}.norm2").relu(), f"{at}.conv2")
            elif brick < 2:
                x = quarter(x, at)
            else:
                x = conv(x, at)
    if text:
        x = norm(x, "last_norm").relu()
    return x.flatten(2).mean(-1) @ state["head.weight"].T + state["head.bias"]


@pytest.mark.parametrize("build", ALL)
@pytest.mark.parametrize(("channels", "side"), [(1, 8), (1, 28), (3, 32)])
def test_forward_pass_equals_the_one_written_again(build, channels, side):
    network = shaken(build(channels=channels)).eval().double()
    x = torch.randn(2, channels, side, side, dtype=torch.float64)
    with torch.no_grad():
        expected = forward_again(network.state_dict(), x, text=isinstance(network, Noel2017Text))
        torch.testing.assert_close(network(x), expected, rtol=1e-9, atol=1e-9)


# --- the traps ----------------------------------------------------------------


def reduction_of_one_channel(row, column):
    """A reduction whose main path only picks the kernel's place (row, column), and whose shortcut is zero."""
    layer = Reduction(1).eval()
    for norm in (layer.norm1, layer.norm2):
        norm.running_var.fill_(1 - norm.eps)
    for conv in (layer.conv1, layer.conv2, layer.shortcut):
        nn.init.zeros_(conv.weight)
    nn.init.zeros_(layer.shortcut.bias)
    with torch.no_grad():
        layer.conv1.weight[0, 0, row, column] = 1
        layer.conv2.weight[0, 0, 1, 1] = 1
    return layer


def test_stride_two_pads_at_the_end_as_tensorflow_does():
    x = torch.arange(1.0, 17.0).reshape(1, 1, 4, 4)
    assert reduction_of_one_channel(0, 0)(x)[0, 0].round().tolist() == [[1, 3], [9, 11]]
    assert reduction_of_one_channel(2, 2)(x)[0, 0].round().tolist() == [[11, 0], [0, 0]]


def test_torch_padding_would_give_other_values():
    x, kernel = torch.randn(1, 2, 8, 8), torch.randn(4, 2, 3, 3)
    torchs = F.conv2d(x, kernel, stride=2, padding=1)
    tensorflows = F.conv2d(F.pad(x, (0, 1, 0, 1)), kernel, stride=2)
    assert torchs.shape == tensorflows.shape
    assert not torch.allclose(torchs, tensorflows, atol=0.1)


def test_shortcut_of_a_reduction_reads_the_raw_input():
    layer = Reduction(4).eval()
    nn.init.zeros_(layer.conv2.weight)
    x = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(layer(x), layer.shortcut(x))


@pytest.mark.parametrize("build", CODE)
def test_code_variant_learns_shifts_only_and_its_first_norm_nothing(build):
    norms = [m for m in build().modules() if isinstance(m, nn.BatchNorm2d)]
    assert [type(norm) for norm in norms] == [nn.BatchNorm2d] + [ShiftBatchNorm2d] * (len(norms) - 1)
    assert [len(list(norm.parameters())) for norm in norms] == [0] + [1] * (len(norms) - 1)
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


@pytest.mark.parametrize(("build", "negative"), [(noel2017_st, True), (noel2017_text_st, False)])
def test_only_the_text_variant_ends_in_a_relu(build, negative):
    network, seen = build(), []
    network.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.randn(8, 3, 16, 16))
    assert bool((seen[0] < 0).any()) == negative


def test_running_statistics_move_by_one_hundredth():
    network, x = noel2017_st(), 5 + 2 * torch.randn(16, 3, 8, 8)
    network(x)
    torch.testing.assert_close(network.norm.running_mean, 0.01 * x.mean((0, 2, 3)))
    torch.testing.assert_close(network.norm.running_var, 0.99 + 0.01 * x.var((0, 2, 3)))


@pytest.mark.parametrize("build", SMALL)
def test_the_scale_of_the_pixels_does_not_matter_in_training(build):
    network, x = build(), torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(network(x), network(255 * x + 7), rtol=1e-2, atol=1e-2)


# --- start, sizes, free numbers -----------------------------------------------


def test_he_start_has_variance_two_over_fan_in_and_is_cut_off():
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 128, 3)  # fan-in 576
    he_start(layer)
    assert layer.weight.std().item() == pytest.approx((2 / 576) ** 0.5, rel=0.01)
    assert layer.weight.mean().item() == pytest.approx(0, abs=1e-3)
    cut = 2 * (2.6 / 576) ** 0.5
    assert 0.98 * cut < layer.weight.abs().max().item() <= cut
    assert not layer.bias.any()


@pytest.mark.parametrize("build", CODE)
def test_code_variant_starts_every_layer_from_he_and_every_bias_at_zero(build):
    for layer in build().modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert layer.bias is None or not layer.bias.any()
            assert layer.weight.abs().max() <= 2 * (2.6 / layer.weight[0].numel()) ** 0.5 + 1e-6


@pytest.mark.parametrize("build", [noel2017_text_st, noel2017_text_m])
def test_text_variant_keeps_the_start_of_pytorch(build):
    for layer in build().modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):  # uniform within 1 / sqrt(fan-in)
            bound = layer.weight[0].numel() ** -0.5
            assert 0.9 * bound < layer.weight.abs().max() <= bound


@pytest.mark.parametrize("sides", [(30, 32), (32, 30), (27, 27), (0, 4)])
def test_code_variant_refuses_sides_that_it_cannot_halve_twice(sides):
    with pytest.raises(ShapeError, match=f"multiples of 4, got {sides[0]}x{sides[1]}"):
        noel2017_st()(torch.zeros(1, 3, *sides))


def test_text_variant_takes_odd_sides_down_to_four():
    network = noel2017_text_st(channels=1).eval()
    assert network(torch.zeros(1, 1, 30, 27)).shape == (1, 10)
    assert network(torch.zeros(1, 1, 4, 4)).shape == (1, 10)
    with pytest.raises(ShapeError, match="at least 4, got 4x3"):
        network(torch.zeros(1, 1, 4, 3))


@pytest.mark.parametrize("variant", [Noel2017Code, Noel2017Text])
@pytest.mark.parametrize(("bricks", "repetitions", "filters"), [(1, 1, 4), (2, 3, 5), (4, 1, 2)])
def test_bricks_repetitions_and_filters_are_free(variant, bricks, repetitions, filters):
    network = variant(2, 3, bricks=bricks, repetitions=repetitions, filters=filters)
    assert network(torch.randn(2, 2, 8, 16)).shape == (2, 3)
    assert network.head.in_features == filters * 2 ** (bricks - (variant is Noel2017Code))


@pytest.mark.parametrize("variant", [Noel2017Code, Noel2017Text])
def test_numbers_below_one_are_refused(variant):
    with pytest.raises(UsageError, match="at least 1"):
        variant(3, 10, bricks=0)


@pytest.mark.parametrize("build", SMALL)
def test_onnx_file_gives_the_same_logits(build, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network, file = shaken(build(channels=1)).eval(), tmp_path / "network.onnx"
    x = torch.randn(3, 1, 8, 8)
    batch = torch.export.Dim("batch")
    torch.onnx.export(
        network, (x,), file, dynamo=True, dynamic_shapes=({0: batch},), input_names=["x"], verbose=False
    )
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for other in (x, torch.randn(1, 1, 8, 8)):
        logits, expected = (
            torch.from_numpy(session.run(None, {"x": other.numpy()})[0]),
            network(other).detach(),
        )
        assert (logits - expected).abs().max() < 1e-3 * expected.abs().max()
