"""Counts against figures by hand and in print, and what counting must never change."""

import threading
import warnings
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import torchvision
from cost_made import Calls
from torch import nn

from concord.cost.count import count
from concord.cost.passes import LayerError
from concord.cost.smallest import smallest_side, takes
from concord.errors import ShapeError, UsageError
from concord.zoo.noel2017_code import noel2017_st


def figures(cost):
    """Everything that does not depend on where it was counted."""
    layers = [(x.path, x.type, x.output, x.parameters, x.macs, x.other_operations) for x in cost.layers]
    return cost.parameters, cost.buffers, cost.macs, cost.other_operations, cost.receptive_field, layers


def spent(cost):
    return cost.parameters, cost.buffers, cost.macs, cost.other_operations


# --- layers by hand: parameters, buffers, MACs, other operations ----------------------


def test_convolution_by_hand():
    # Layer 1 of Merrikhi 2024: 5² 3 64 + 64 parameters, 64² 5² 3 64 products, 64² 64 biases added.
    cost = count(nn.Conv2d(3, 64, 5, stride=2, padding=2), (3, 128, 128))
    assert spent(cost) == (4_864, 0, 19_660_800, 262_144)
    assert cost.flops == 2 * 19_660_800
    assert (cost.bits(8), cost.file_bytes(), cost.file_bytes(1)) == (8 * 4_864, 4 * 4_864, 608)
    assert [layer.rule for layer in cost.layers] == [
        "K²·M·N + N = 5²·3·64 + 64 = 4,864 parameters; H·W·K²·M·N = 64·64·5²·3·64 = 19,660,800 MACs; "
        "H·W·N = 64·64·64 = 262,144 other"
    ]


def test_depthwise_separable_convolution_by_hand():
    # Layer 2 of Merrikhi 2024: (5² 64 + 64) + (64 128 + 128) parameters, 32² 64 (5² + 128) products.
    pair = nn.Sequential(nn.Conv2d(64, 64, 5, stride=2, padding=2, groups=64), nn.Conv2d(64, 128, 1))
    cost = count(pair, (64, 64, 64))
    assert spent(cost) == (9_984, 0, 10_027_008, 32**2 * (64 + 128))
    depthwise, pointwise = (layer.rule for layer in cost.layers)
    assert depthwise == (
        "K²·M + M = 5²·64 + 64 = 1,664 parameters; H·W·K²·M = 32·32·5²·64 = 1,638,400 MACs; "
        "H·W·N = 32·32·64 = 65,536 other"
    )
    assert pointwise.startswith("K²·M·N + N = 1²·64·128 + 128 = 8,320 parameters")


def test_the_network_of_source_001():
    layers = [nn.Conv2d(c, n, 5, stride=2, padding=2) for c, n in ((3, 64), (64, 128), (128, 256))]
    features = [step for layer in layers for step in (layer, nn.ReLU())]
    cost = count(nn.Sequential(*features, nn.Flatten(), nn.Linear(65_536, 200)), (3, 128, 128))
    convolutions = [layer for layer in cost.layers if layer.type == "Conv2d"]
    assert [(c.parameters, c.macs) for c in convolutions] == [
        (4_864, 19_660_800),
        (204_928, 209_715_200),
        (819_456, 209_715_200),
    ]
    assert (cost.parameters, cost.macs) == (14_136_648, 439_091_200 + 13_107_200)
    assert [(c.fields[-1].size, c.fields[-1].jump) for c in convolutions] == [(5, 2), (13, 4), (29, 8)]
    seen = cost.receptive_field
    assert (seen.path, seen.size, seen.stride, seen.start) == ("5", (29, 29), (8.0, 8.0), (0.0, 0.0))


@pytest.mark.parametrize(
    ("layer", "shape", "parameters", "macs", "other"),
    [
        # 3 groups of 4 -> 2 channels: 7·5 positions
        (nn.Conv2d(12, 6, 3, padding=1, groups=3), (12, 7, 5), 9 * 4 * 6 + 6, 35 * 9 * 4 * 6, 35 * 6),
        (nn.Conv2d(2, 4, 3, groups=2, bias=False), (2, 7, 5), 9 * 4, 5 * 3 * 9 * 4, 0),
        # dilation 2 widens a kernel of 3 to 5: 9 - 5 + 1 = 5 rows, 7 - 5 + 1 = 3 columns
        (nn.Conv2d(2, 3, 3, dilation=2), (2, 9, 7), 57, 5 * 3 * 9 * 2 * 3, 5 * 3 * 3),
        # rows floor((8 + 2 - 3) / 2) + 1 = 4, columns 9 - 4 = 5 + 1
        (nn.Conv2d(2, 3, (3, 4), (2, 1), (1, 0)), (2, 8, 9), 3 * 4 * 6 + 3, 4 * 6 * 12 * 6, 4 * 6 * 3),
        (nn.Conv1d(2, 5, 3, stride=2), (2, 10), 35, 4 * 3 * 2 * 5, 4 * 5),
        (nn.Conv3d(2, 3, 2), (2, 3, 4, 5), 51, 2 * 3 * 4 * 8 * 2 * 3, 24 * 3),
        (nn.Conv2d(3, 4, 3, padding="same"), (3, 8, 8), 112, 64 * 9 * 12, 256),
        # every position of the input meets the whole kernel; biases go to the output, 9 x 15
        (nn.ConvTranspose2d(2, 5, 3, stride=2), (2, 4, 7), 95, 4 * 7 * 9 * 2 * 5, 9 * 15 * 5),
        (nn.ConvTranspose2d(4, 6, 2, 2, groups=2, bias=False), (4, 3, 3), 48, 9 * 4 * 12, 0),
        (nn.ConvTranspose1d(3, 2, 4, stride=2, padding=1), (3, 5), 26, 5 * 4 * 6, 10 * 2),
        (nn.Linear(7, 5), (7,), 40, 35, 5),
        (nn.Linear(7, 5, bias=False), (3, 7), 35, 105, 0),
        (nn.Embedding(11, 4), torch.zeros(1, 6, dtype=torch.long), 44, 0, 0),
        # bags of 4 vectors of 3 numbers, for 2 samples
        (nn.EmbeddingBag(11, 3), torch.zeros(2, 4, dtype=torch.long), 33, 0, 2 * 4 * 3),
        # 12 windows of 2 x 2 of 2 maps, each number added where it belongs
        (nn.Fold((4, 5), 2), (8, 12), 0, 0, 12 * 4 * 2),
        # 4 gates of 5 units from 3 inputs and 5 states, two biases: 3 sums each, 9 more for each unit
        (nn.LSTMCell(3, 5), (3,), 4 * 5 * (3 + 5 + 2), 4 * 5 * (3 + 5), 5 * (3 * 4 + 9)),
        (nn.GRUCell(3, 5), (3,), 3 * 5 * (3 + 5 + 2), 3 * 5 * (3 + 5), 5 * (3 * 3 + 7)),
        (nn.PReLU(6), (6, 4, 4), 6, 0, 96),
        (nn.LayerNorm(6), (4, 6), 12, 0, 7 * 24),
        (nn.LayerNorm(6, elementwise_affine=False), (4, 6), 0, 0, 5 * 24),
        (nn.GroupNorm(2, 6), (6, 3, 3), 12, 0, 7 * 54),
        (nn.GroupNorm(2, 6, affine=False), (6, 3, 3), 0, 0, 5 * 54),
        (nn.InstanceNorm2d(6), (6, 3, 3), 0, 0, 5 * 54),
        (nn.InstanceNorm2d(6, affine=True), (6, 3, 3), 12, 0, 7 * 54),
        (nn.MaxPool2d(3, 2), (2, 7, 7), 0, 0, 8 * 2 * 9),
        (nn.MaxPool1d(2), (2, 8), 0, 0, 8),
        (nn.AvgPool2d((2, 3)), (2, 4, 6), 0, 0, 6 * 2 * 4),
        (nn.MaxPool3d(2), (1, 4, 4, 4), 0, 0, 7 * 8),
        # 5 -> 3: windows 0..1, 1..3, 3..4 read 7 places of each axis
        (nn.AdaptiveAvgPool2d(3), (2, 5, 5), 0, 0, 2 * 7 * 7),
        (nn.AdaptiveMaxPool2d((1, 2)), (2, 5, 4), 0, 0, 2 * 5 * 4),
        (nn.AdaptiveAvgPool2d(1), (2, 5, 4), 0, 0, 2 * 5 * 4),
        (nn.Softmax(-1), (2, 5), 0, 0, 30),
        (nn.ReLU(), (2, 5), 0, 0, 10),
        (nn.Dropout(), (2, 5), 0, 0, 0),
        (nn.ZeroPad2d(1), (2, 5, 5), 0, 0, 0),
        (nn.Upsample(scale_factor=2), (2, 3, 3), 0, 0, 0),
        (nn.Upsample(scale_factor=2, mode="bilinear"), (2, 3, 3), 0, 0, 8 * 72),
        (nn.Upsample(scale_factor=2, mode="bicubic"), (2, 3, 3), 0, 0, 32 * 72),
        (nn.Upsample(scale_factor=2, mode="linear"), (2, 3), 0, 0, 4 * 12),
        (nn.Upsample(scale_factor=2, mode="trilinear"), (1, 2, 2, 2), 0, 0, 16 * 64),
    ],
    ids=str,
)
def test_layers_by_hand(layer, shape, parameters, macs, other):
    cost = count(layer, shape)
    assert (cost.parameters, cost.macs, cost.other_operations) == (parameters, macs, other)
    assert (cost.device, cost.without_rule) == ("meta", ())


def test_weighted_bags_of_vectors():
    def bags(network, ids, weights):
        return F.embedding_bag(ids, network.read.weight, per_sample_weights=weights, mode="sum")

    cost = count(Calls(bags, read=nn.Embedding(11, 3)), torch.zeros(2, 4, dtype=torch.long), torch.ones(2, 4))
    assert (cost.other_operations, cost.macs, cost.without_rule) == (2 * 4 * 3 * 2, 0, ())


def test_normalisation_activation_and_pooling_are_no_products():
    network = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten())
    cost = count(network, (6, 8, 8))
    # Two means and variances of 6 and a counter; scale and shift, then ReLU; 4 numbers for each of 6 4 4.
    assert spent(cost) == (12, 13, 0, 2 * 384 + 384 + 4 * 96)
    assert cost.layers[0].rule == "2·C = 2·6 = 12 parameters; 2·E = 2·384 = 768 other"


def test_two_samples_cost_twice_as_much():
    layer = nn.Conv2d(3, 4, 3)
    one, two = count(layer, (3, 5, 6)), count(layer, torch.zeros(2, 3, 5, 6))
    assert (two.macs, two.other_operations) == (2 * one.macs, 2 * one.other_operations)
    assert two.layers[0].steps[1:] == [
        "B·H·W·K²·M·N = 2·3·4·3²·3·4 = 2,592 MACs",
        "B·H·W·N = 2·3·4·4 = 96 other",
    ]
    linear = count(nn.Linear(3, 4), torch.zeros(2, 3)).layers[0]
    assert linear.steps[1:] == ["P·D·N = 2·3·4 = 24 MACs", "P·N = 2·4 = 8 other"]


# --- memory by hand -------------------------------------------------------------------


@pytest.mark.parametrize(("inplace", "activations", "peak"), [(False, 640, 704), (True, 384, 576)])
def test_activations_and_their_peak_by_hand(inplace, activations, peak):
    # Input 192, maps of 256, 256 and 128. The input stays alive; with it, two maps at a time.
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace), nn.Conv2d(4, 2, 1))
    cost = count(network, (3, 8, 8))
    assert (cost.activations, cost.peak_activations) == (activations, peak)


def test_memory_of_a_concatenation_by_hand():
    # x 32, y 48 and z 48 of 3 maps of 16; all of them alive while [x, y, z] of 128 is made.
    def dense(network, x):
        y = network.one(x)
        z = network.two(torch.cat([x, y], 1))
        return torch.cat([x, y, z], 1)

    network = Calls(dense, one=nn.Conv2d(2, 3, 1), two=nn.Conv2d(5, 3, 1))
    cost = count(network, (2, 4, 4))
    assert cost.activations == 48 + 80 + 48 + 128
    assert cost.peak_activations == 32 + 48 + 48 + 128


def test_memory_of_a_residual_sum_by_hand():
    # x 32 -> a 64 -> b 64 -> c 64, then c + a in place: nothing new.
    def residual(network, x):
        a = network.one(x)
        c = network.three(network.two(a))
        c += a
        return c

    modules = {"one": nn.Conv2d(2, 4, 1), "two": nn.Conv2d(4, 4, 1), "three": nn.Conv2d(4, 4, 1)}
    cost = count(Calls(residual, **modules), (2, 4, 4))
    assert (cost.activations, cost.peak_activations) == (3 * 64, 32 + 3 * 64)
    assert cost.other_operations == 3 * 64 + 64  # biases, and the sum


def test_writing_into_tensors_is_no_operation():
    def written(network, x):
        y = torch.empty(1, 6, device=x.device)
        y[:, :4] = x
        y[:, torch.tensor([4, 5], device=x.device)] = x[:, :2]
        y.unsqueeze_(2)
        return y.squeeze_(-1).t()[1:]

    cost = count(Calls(written), (4,))
    assert (cost.other_operations, cost.activations, cost.without_rule) == (0, 6, ())


def test_what_is_given_beside_an_output_takes_no_memory():
    def best(network, x):
        values, places = x.max(-1)
        return values, places[:, 1:]

    cost = count(Calls(best), (4, 5))
    assert (cost.activations, cost.peak_activations, cost.without_rule) == (4, 24, ())
    states = count(Calls(lambda n, x: n.cell(x)[1][0][-1], cell=nn.LSTM(5, 3)), (4, 5))
    assert (states.activations, states.peak_activations, states.without_rule) == (12, 32, ())


def test_views_take_no_memory_and_constants_do():
    def views(network, x):
        return x.flatten(1)[:, 3:].view(1, 7, 3) + torch.ones(7, 1, device=x.device)

    cost = count(Calls(views), (24,))
    assert (cost.activations, cost.peak_activations) == (7 + 21, 24 + 7 + 21)
    assert [layer.type for layer in cost.layers] == ["ones", "add"]


# --- figures in print -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [
        ("alexnet", 61_100_840, 714_188_480),
        ("vgg16", 138_357_544, 15_470_264_320),
        ("vgg19", 143_667_240, 19_632_062_464),
        ("resnet18", 11_689_512, 1_814_073_344),
        ("resnet50", 25_557_032, 4_089_184_256),
        ("resnet101", 44_549_160, 7_801_405_440),
        ("resnext50_32x4d", 25_028_904, 4_230_479_872),
        ("resnext101_64x4d", 83_455_272, 15_460_270_080),
        ("densenet121", 7_978_856, 2_834_161_664),
        ("densenet201", 20_013_928, 4_291_365_888),
    ],
)
def test_figures_of_the_specification(name, parameters, macs):
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    cost = count(network, (3, 224, 224))
    assert (cost.parameters, cost.macs) == (parameters, macs)


@pytest.mark.parametrize(
    ("name", "size", "seen", "stride"),
    [("vgg16", 212, 212, 32), ("resnet18", 435, 224, 32), ("resnet50", 427, 224, 32)],
)
def test_receptive_fields_in_print(name, size, seen, stride):
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    field = count(network, (3, 224, 224)).receptive_field
    assert (field.size, field.stride) == ((size, size), (stride, stride))
    assert (field.seen, field.exact) == ((seen, seen), size == seen)


# --- what is shared, what is not used ---------------------------------------------------


def test_a_layer_used_twice_counts_its_parameters_once():
    layer = nn.Linear(5, 5)
    cost = count(nn.Sequential(layer, layer), (5,))
    assert (cost.parameters, cost.macs, len(cost.layers), cost.layers[0].calls) == (30, 50, 1, 2)
    assert (cost.other_operations, cost.activations, cost.layers[0].activations) == (10, 10, 10)
    assert (
        cost.layers[0].rule == "D·N + N = 5·5 + 5 = 30 parameters; D·N = 5·5 = 25 MACs; N = 5 other; 2 calls"
    )


def test_calls_that_become_one_row_keep_the_parameters_and_buffers_of_each():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("a", torch.ones(4))
            self.register_buffer("b", torch.ones(4))
            self.c, self.d = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(1))

        def forward(self, x):
            return (((x + self.a) + self.b) + self.c) + self.d

    cost = count(Shifted(), (4,))
    assert [(row.type, row.calls, row.buffers, row.parameters) for row in cost.layers] == [("add", 4, 8, 5)]
    assert (cost.buffers, cost.parameters) == (8, 5)


def test_calls_on_maps_of_other_sizes_have_rows_of_their_own():
    layer = nn.Conv2d(2, 2, 3, stride=2, padding=1)
    cost = count(nn.Sequential(layer, layer), (2, 8, 8))
    assert [(row.macs, row.parameters, row.calls) for row in cost.layers] == [(576, 38, 1), (144, 0, 1)]
    assert cost.layers[1].rule == "H·W·K²·M·N = 2·2·3²·2·2 = 144 MACs; H·W·N = 2·2·2 = 8 other"


def test_the_receptive_field_is_that_of_the_last_call():
    layer = nn.Conv2d(2, 2, 3, padding=1)
    cost = count(nn.Sequential(layer, layer, layer), (2, 9, 9))
    assert (cost.receptive_field.size, cost.receptive_field.path) == ((7, 7), "0")
    assert (cost.layers[0].calls, cost.layers[0].fields[-1].size) == (3, 7)


def test_a_parameter_of_two_layers_counts_once_and_stands_in_the_rule_where_it_was_counted():
    embedding, decoder = nn.Embedding(100, 16), nn.Linear(16, 100)
    decoder.weight = embedding.weight
    cost = count(nn.Sequential(embedding, decoder), torch.zeros(1, 9, dtype=torch.long))
    assert (cost.parameters, cost.macs) == (1_700, 9 * 1_600)
    assert [row.parameters for row in cost.layers] == [1_600, 100]
    assert cost.layers[0].rule == "100·16 = 1,600 parameters"
    assert cost.layers[1].rule == (  # its bias
        "100 parameters; P·D·N = 9·16·100 = 14,400 MACs; P·N = 9·100 = 900 other"
    )


def test_what_is_not_used_stands_in_a_row_of_its_own():
    network = Calls(lambda n, x: F.linear(x, n.lent.weight), lent=nn.Linear(4, 3), spare=nn.BatchNorm1d(5))
    cost = count(network, (4,))
    rows = [(row.path, row.type, row.parameters, row.buffers) for row in cost.layers]
    assert rows == [
        ("", "mm", 12, 0),
        ("lent", "Linear, not used", 3, 0),
        ("spare", "BatchNorm1d, not used", 10, 11),
    ]
    assert (cost.parameters, cost.buffers) == (25, 11)


def test_a_spare_parameter_of_a_layer_that_ran_has_its_own_row():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.spare = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(2))
            self.register_buffer("counter", torch.ones(3))

        def forward(self, x):
            return x * self.scale

    cost = count(Scaled(), (4,))
    rows = [(row.type, row.parameters, row.buffers, row.calls) for row in cost.layers]
    assert rows == [("mul", 4, 0, 1), ("Scaled, not used", 2, 3, 1)]


def test_the_counter_of_a_normalisation_stands_in_its_row():
    class Own(nn.BatchNorm2d):
        pass

    cost = count(Own(6), (6, 4, 4))
    assert [(row.type, row.parameters, row.buffers) for row in cost.layers] == [("native_batch_norm", 12, 13)]


# --- what a network may be ---------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda n, x: {"logits": n.one(x), "again": (x, None)},
        lambda n, x: [n.one(x)],
        lambda n, x: (n.one(input=x), x),
    ],
)
def test_any_output_and_any_form_of_a_call(f):
    assert spent(count(Calls(f, one=nn.Linear(4, 3)), (4,))) == (15, 0, 12, 3)


def test_sums_of_two_types_have_the_wider_one():
    network = Calls(lambda n, a, b: n.one(a + b) * (b + a), one=nn.Linear(4, 4))
    cost = count(network, torch.zeros(1, 4, dtype=torch.half), torch.zeros(1, 4))
    assert (cost.device, cost.macs, cost.other_operations) == ("meta", 16, 16)


def test_several_inputs_of_several_types():
    def both(network, picture, words):
        return network.see(picture).mean((2, 3)) + network.read(words).mean(1)

    network = Calls(both, see=nn.Conv2d(3, 4, 3), read=nn.Embedding(50, 4))
    cost = count(network, (3, 6, 6), torch.zeros(1, 7, dtype=torch.long))
    assert spent(cost) == (112 + 200, 0, 16 * 108, 64 + 64 + 28 + 4)
    assert cost.receptive_field.path == "see"


def test_integer_pictures_are_local_along_height_and_width_only():
    network = Calls(lambda n, x: n.one(x / 255), one=nn.Conv2d(3, 4, 3))
    cost = count(network, torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    assert (cost.receptive_field.path, cost.receptive_field.size) == ("one", (3, 3))


def test_a_network_without_parameters():
    assert spent(count(nn.Sequential(nn.AvgPool2d(2), nn.ReLU()), (3, 8, 8))) == (0, 0, 0, 192 + 48)


def test_forward_hooks_still_run_and_change_nothing():
    layer, seen = nn.Conv2d(3, 4, 3), []
    plain = count(layer, (3, 8, 8))
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    assert figures(count(layer, (3, 8, 8))) == figures(plain)
    assert seen == [(1, 4, 6, 6)]


def test_a_layer_with_a_forward_of_its_own_is_not_taken_for_what_its_class_is():
    layer = nn.Conv2d(3, 4, 3)
    layer.forward = lambda x: x * 2
    assert spent(count(layer, (3, 8, 8))) == (112, 0, 0, 192)


def old_weight_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(layer)


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, old_weight_norm])
def test_reparametrised_layers(norm):
    cost = count(nn.Sequential(norm(nn.Conv2d(3, 4, 3)), nn.ReLU()), (3, 8, 8))
    assert (cost.parameters, cost.macs) == (112 + 4, 36 * 108)
    assert cost.parameters == sum(row.parameters for row in cost.layers)
    assert (cost.without_rule, cost.other_operations) == ((), 2 * 108 + 144 + 144)
    assert not any("K²·M·N + N" in row.rule for row in cost.layers)  # 4 g and a bias of 4 are not that
    assert cost.receptive_field.size == (3, 3)


def test_scripted_traced_compiled_and_exported_networks():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    expected = spent(count(network, (3, 8, 8)))
    x = torch.zeros(1, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opaque = [torch.jit.script(network), torch.jit.trace(network, x), torch.compile(network)]
    for form in (*opaque, torch.fx.symbolic_trace(network), torch.export.export(network, (x,)).module()):
        cost = count(form, (3, 8, 8))
        assert spent(cost) == expected
        assert cost.receptive_field.size == (3, 3)
        # older versions of torch run what is scripted or compiled on real numbers only
        assert cost.device == "meta" or any(form is one for one in opaque)
        assert [row.parameters for row in cost.layers] == [112, 0]


def test_lazy_layers_are_refused_with_the_way_out():
    network = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU())
    with pytest.raises(UsageError, match="lazy layers have no sizes yet: run the network once"):
        count(network, (3, 8, 8))
    network(torch.zeros(1, 3, 8, 8))
    assert count(network, (3, 8, 8)).parameters == 112


def test_a_network_that_cannot_be_copied_is_counted_itself_and_is_as_before():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    network.lock = threading.Lock()
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    cost, wanted = count(network, (3, 8, 8)), count(plain, (3, 8, 8))
    assert (cost.device, cost.parameters, cost.macs) == ("cpu", 112 + 8, wanted.macs)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert network.training
    assert all(module.training for module in network.modules())
    assert not network._forward_hooks
    with torch.device("meta"):
        network = nn.Conv2d(3, 4, 3)
    network.lock = threading.Lock()
    assert count(network, (3, 8, 8)).parameters == 112


def test_half_precision_networks_count_the_same():
    half, full = count(noel2017_st().bfloat16(), (3, 32, 32)), count(noel2017_st(), (3, 32, 32))
    assert figures(half) == figures(full)
    assert (half.activations, half.peak_activations) == (full.activations, full.peak_activations)


def test_a_network_half_on_the_meta_device():
    network = Calls(lambda n, x: n.norm(n.one(x)), one=nn.Conv2d(3, 4, 3).to("meta"), norm=nn.BatchNorm2d(4))
    assert count(network, (3, 8, 8)).device == "meta"


# --- nothing is allocated -----------------------------------------------------------------


def test_neither_the_picture_nor_the_weights_are_allocated():
    # 12 terabytes of picture and 400 gigabytes of weights.
    side = 1_000_000
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    cost = count(network, (3, side, side))
    assert (cost.macs, cost.device) == (108 * side**2, "meta")
    with torch.device("meta"):
        network = nn.Linear(320_000, 320_000, bias=False)
    assert spent(count(network, (320_000,))) == (320_000**2, 0, 320_000**2, 0)


def test_sequences_of_a_million_steps():
    cost = count(nn.Sequential(nn.Embedding(20, 3), nn.LSTM(3, 5)), torch.zeros(10**6, 1, dtype=torch.long))
    assert cost.macs == 10**6 * 4 * 5 * (3 + 5)


# --- nothing is changed --------------------------------------------------------------------


def test_the_network_is_left_as_it_was():
    network = noel2017_st().train()
    network.stem.eval()
    network.stem.weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    identities = [id(p) for p in network.parameters()]
    count(network, (3, 32, 32))
    assert network.training
    assert not network.stem.training
    assert [id(p) for p in network.parameters()] == identities
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_network_on_the_meta_device_keeps_its_training_flags():
    with torch.device("meta"):
        network = nn.Sequential(nn.Dropout(), nn.Linear(3, 2))
    network[0].eval()
    count(network, (3,))
    with pytest.raises(LayerError):
        count(network, (4,))
    assert [module.training for module in network.modules()] == [True, False, True]


@pytest.mark.parametrize("number", [0.0, 1.0])  # of the input: the first counts, the second fails
def test_random_numbers_the_input_and_torch_s_switches_stay(number):
    def noisy(network, x):
        if (torch.rand(3).sum() * x).sum() > 0:
            raise ValueError
        return network.one(x.relu_())

    x = torch.full((2, 4), number, requires_grad=True)
    network = Calls(noisy, one=nn.Linear(4, 3))
    before, call = torch.get_rng_state(), nn.Module.__call__
    try:
        cost = count(network, x)
    except LayerError:
        assert number
    else:
        assert cost.device == "cpu"
    assert torch.equal(torch.get_rng_state(), before)
    assert x.requires_grad
    assert set(vars(x)) == set()
    assert nn.Module.__call__ is call
    assert torch.is_grad_enabled()
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_input_s_numbers_stay_where_a_layer_works_in_place():
    network = Calls(lambda n, x: n.act(x) if x.sum().item() < 9 else x, act=nn.ReLU(inplace=True))
    x = torch.tensor([[-1.0, 2.0]])
    assert count(network, x).device == "cpu"
    assert x.tolist() == [[-1.0, 2.0]]


def test_counting_inside_a_network_that_is_being_counted():
    inner = []

    def outer(network, x):
        inner.append(count(nn.Conv2d(2, 3, 1), (2, 5, 5)).macs)
        return network.one(x)

    call = nn.Module.__call__
    cost = count(Calls(outer, one=nn.Linear(4, 3)), (4,))
    assert (inner, cost.macs) == ([150], 12)
    assert nn.Module.__call__ is call
    assert [row.path for row in cost.layers if row.macs] == ["one"]


def test_threads_count_in_turns_and_others_go_on():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    expected, call, stop = count(network, (3, 8, 8)), nn.Module.__call__, threading.Event()
    counts, sums = [], []

    def counting():
        counts.extend(count(network, (3, 8, 8)) for _ in range(10))

    def working():
        layer = nn.Linear(2, 2)
        while not stop.is_set():
            sums.append(layer(torch.ones(1, 2)).isnan().any().item())

    threads = [threading.Thread(target=counting) for _ in range(3)]
    other = threading.Thread(target=working)
    for thread in (other, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    other.join()
    assert counts == [expected] * 30
    assert sums
    assert not any(sums)
    assert nn.Module.__call__ is call


# --- on the processor -------------------------------------------------------------------------


class LooksAtItsInput(nn.Module):
    """Cannot run on the meta device."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x) if x.abs().max() < 9 else x


def inside(cost):
    """Figures of the layers without the question that the wrapper asks, and without the wrapper's name."""
    rows = [replace(row, path=row.path.partition(".")[2]) for row in cost.layers if row.path]
    return [(row, row.rule) for row in rows]


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (noel2017_st(), (3, 32, 32)),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Dropout(), nn.MaxPool2d(2)), (3, 9, 9)),
        (nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 5, bidirectional=True)), (7, 3)),
        (nn.Sequential(nn.ConvTranspose2d(3, 4, 3), nn.InstanceNorm2d(4), nn.Upsample(None, 2)), (3, 5, 5)),
    ],
)
def test_a_network_that_needs_numbers_runs_for_real_with_equal_figures(network, shape):
    wrapped = LooksAtItsInput(network).train()
    state = {name: tensor.clone() for name, tensor in wrapped.state_dict().items()}
    real, meta = count(wrapped, shape), count(nn.Sequential(network), shape)
    assert (real.device, meta.device) == ("cpu", "meta")
    assert inside(real) == inside(meta)
    assert (real.parameters, real.buffers, real.macs) == (meta.parameters, meta.buffers, meta.macs)
    assert wrapped.training
    assert all(torch.equal(tensor, state[name]) for name, tensor in wrapped.state_dict().items())


def test_what_decides_for_real_are_the_true_numbers():
    def decided(network, x):
        y = network.act(network.one(x))
        return network.two(y) if y.tolist() == [[7.0] * 3] else y

    network = Calls(decided, one=nn.Linear(4, 3), act=nn.ReLU(), two=nn.Linear(3, 2))
    with torch.no_grad():
        network.one.weight.fill_(0)
        network.one.bias.fill_(7)
    cost = count(network, (4,))
    assert (cost.device, cost.macs) == ("cpu", 12 + 6)


def test_tensors_that_modules_hold_outside_their_state():
    network = Calls(lambda n, x: n.one((x - n.mean.view(1, 4)) / n.rate[None]), one=nn.Linear(4, 3))
    network.mean, network.rate = torch.ones(4), torch.tensor(0.5, requires_grad=True) * 2
    cost = count(network, (4,))
    assert (cost.device, cost.parameters, cost.other_operations, cost.without_rule) == ("meta", 15, 11, ())
    assert network.mean.sum() == 4
    looking = count(LooksAtItsInput(network), (4,))
    assert (looking.device, looking.macs) == ("cpu", 12)
    assert set(looking.without_rule) == set()


def test_tensors_deeper_outside_the_state_are_met_on_the_processor():
    network = Calls(lambda n, x: n.one(x) * n.scale[0][:3], one=nn.Linear(4, 3), scale=[torch.ones(4)])
    cost = count(network, (4,))
    assert (cost.device, cost.macs, cost.other_operations, cost.without_rule) == ("cpu", 12, 6, ())


def test_the_pass_is_one_of_evaluation():
    network = Calls(lambda n, x: n.one(x) + n.two(x) if n.training else n.one(x))
    network.one, network.two = nn.Linear(4, 3), nn.Linear(4, 3)
    assert (count(network, (4,)).macs, count(network, (4,)).parameters) == (12, 30)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x):
        return self.layers(x)


def test_attention_costs_the_same_on_both_devices():
    # Per layer and 8 steps: projections 4 x 16², two products with 8 steps of 16, linear 2 x 16 x 32.
    by_hand = 2 * 8 * (4 * 16**2 + 2 * 8 * 16 + 2 * 16 * 32)
    assert count(Encoder(), (8, 16)).macs == by_hand
    assert count(LooksAtItsInput(Encoder()), (8, 16)).macs == by_hand
    assert torch.backends.mha.get_fastpath_enabled()


# --- refused --------------------------------------------------------------------------------


def on_meta(network):
    return network.to("meta")


@pytest.mark.parametrize("form", [lambda n: n, on_meta])
def test_the_layer_that_refuses_is_named_with_its_input(form):
    def refusal(network, shape):
        with pytest.raises(LayerError) as refused:
            count(form(network), shape)
        return str(refused.value).partition(": ")[0]

    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(5, 6, 3)))
    assert refusal(network, (3, 8, 8)) == "1.0 (Conv2d) does not take its input of shape (1, 4, 6, 6)"
    network = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 6, 5))
    assert refusal(network, (3, 8, 8)) == "1 (Conv2d) does not take its input of shape (1, 3, 4, 4)"
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    assert refusal(network, (3, 3, 3)) == "1 (Linear) does not take its input of shape (1, 27)"
    assert (
        refusal(nn.Linear(3, 4), (3, 5)) == "the network (Linear) does not take its input of shape (1, 3, 5)"
    )
    network = nn.Sequential(nn.BatchNorm2d(4))
    assert refusal(network, (3, 5, 5)) == "0 (BatchNorm2d) does not take its input of shape (1, 3, 5, 5)"
    assert refusal(nn.LSTM(3, 5), (5, 4)) == "the network (LSTM) does not take its input of shape (1, 5, 4)"


def test_a_wrong_picture_of_any_size_is_refused_as_such():
    with pytest.raises(LayerError, match=r"the network \(Conv2d\) does not take"):
        count(nn.Conv2d(3, 4, 1), (2, 10**6, 10**6))


@pytest.mark.parametrize("dtype", [torch.long, torch.float64])
def test_numbers_of_another_type_are_refused_as_torch_refuses_them(dtype):
    for layer in (nn.Conv2d(3, 4, 1), nn.Linear(8, 4)):
        with pytest.raises(LayerError, match="does not take its input"):
            count(layer, torch.zeros(1, 3, 8, 8, dtype=dtype))


@pytest.mark.parametrize("inputs", [(), ((3, 0, 4),), ((3, -1, 4),), (torch.zeros(0, 3, 8, 8),)])
def test_nothing_is_no_input(inputs):
    with pytest.raises(ShapeError, match="expected inputs with at least one element, got"):
        count(nn.Conv2d(3, 4, 1), *inputs)


def test_the_network_s_own_refusal_comes_through():
    with pytest.raises(ShapeError, match="multiples of 4, got 30x30"):
        count(noel2017_st(), (3, 30, 30))


# --- the smallest picture -------------------------------------------------------------------


def only(*sides):
    """A network that takes pictures of these sides alone."""

    def forward(network, x):
        if x.shape[2] not in sides:
            raise ValueError
        return x

    return Calls(forward)


@pytest.mark.parametrize(
    "network",
    [
        nn.Conv2d(3, 4, 7),
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.MaxPool2d(3, 2), nn.Conv2d(4, 4, 5)),
        nn.Sequential(nn.Conv2d(3, 2, 5), nn.Flatten(), nn.Linear(2 * 60**2, 5)),
        noel2017_st(),
        only(*range(75, 2000)),
    ],
)
def test_the_smallest_side_is_that_of_a_search_one_by_one(network):
    network = network.to("meta")
    assert smallest_side(network, 3) == next(
        side for side in range(1, 400) if takes(network, (3, side, side))
    )


@pytest.mark.parametrize("side", [192, 224, 240, 256, 288, 299, 336, 384, 512, 518])
def test_networks_that_take_one_usual_size_only(side):
    assert smallest_side(only(side), 3) == side


def test_no_side_where_none_fits():
    assert smallest_side(nn.Conv2d(4, 4, 1), 3) is None
    assert smallest_side(only(1025), 3) is None


def test_deterministic_algorithms_change_no_figure_and_stay_as_they_were():
    network = nn.Upsample(scale_factor=2, mode="bilinear")
    before = count(network, (2, 3, 3))
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        assert count(network, (2, 3, 3)) == before
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("given", ["3x8x8", (3, 8.5, 8)])
def test_what_is_no_shape_of_a_tensor_is_refused(given):
    with pytest.raises(ShapeError, match="whole numbers such as"):
        count(nn.Conv2d(3, 4, 1), given)


def test_more_elements_than_torch_can_number_are_refused():
    with pytest.raises(UsageError, match="more elements than torch can number"):
        count(nn.Conv2d(3, 4, 1), (3, 10**12, 10**12))


def test_what_is_no_network_is_refused():
    with pytest.raises(UsageError, match=r"expected a torch\.nn\.Module to count, got int"):
        count(5, (3, 4))
