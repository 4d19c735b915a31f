"""Bits and bit products of binary layers, and the predictions of the paper beside them."""

import pytest
import torch
from cost_made import Calls, cells, priced
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from concord.cost.count import count
from concord.cost.passes import LayerError
from concord.cost.signs import Signs
from concord.cost.stored import from_data, to_data
from concord.layers.binary.convolution import BinaryConnectConv2d, BWNConv2d, XNORConv2d
from concord.layers.binary.dense import BinaryConnectLinear, BWNLinear, XNORLinear
from concord.report.cost_binary import binary_table
from concord.report.cost_page import cost_page
from concord.report.cost_totals import comparison, linear_parameters, totals
from concord.report.cost_worked import worked_answer
from concord.runs.costs import cost_of


@pytest.mark.parametrize(
    ("each", "speed", "memory"),
    # 64 n / (n + 64) and 32 n / (n + 32) of n = 2304, 576, 27 and 1
    [(256 * 9, "62.27", "31.56"), (64 * 9, "57.60", "30.32"), (3 * 9, "18.99", "14.64"), (1, "0.98", "0.97")],
)
def test_predictions_are_those_of_the_paper(each, speed, memory):
    signs = Signs(each, 5, 5, 1)
    assert f"{signs.predicted_speed:.2f}" == speed
    assert f"{signs.memory_ratio:.2f}" == memory


@pytest.mark.parametrize("groups", [1, 2])
def test_an_xnor_convolution_by_hand(groups):
    cost = count(XNORConv2d(6, 4, (3, 2), padding=(1, 0), groups=groups), (6, 5, 7))
    # n = 6 / G 3 2, to maps of 5x6 with 4 filters, and a bias for each
    each = 36 // groups
    (layer,) = cost.layers
    assert cost.macs == cost.binary_operations == layer.binary_operations == 5 * 6 * 4 * each
    assert cost.parameters == 4 * each + 4
    assert cost.parameter_bits == 4 * each + 32 * (4 + 4)  # signs; scales and biases
    # the signs of 6 5 7 inputs; alpha and bias for 5 6 4 outputs
    assert cost.other_operations == 210 + 2 * 120
    assert layer.one_call.signs == Signs(each, 4, 4, cost.macs)
    assert [f.unbounded for f in layer.fields[2:]] == [3, 2]


def test_layers_with_real_inputs_keep_float_products():
    bwn = count(BWNConv2d(3, 4, 3, bias=False), (3, 6, 6))
    connect = count(BinaryConnectConv2d(3, 4, 3), (3, 6, 6))
    assert (bwn.macs, bwn.binary_operations) == (16 * 4 * 27, 0)
    assert (bwn.other_operations, connect.other_operations) == (64, 64)  # alpha of the one, bias of the other
    assert (bwn.parameter_bits, connect.parameter_bits) == (108 + 32 * 4, 108 + 32 * 4)
    assert bwn.layers[0].one_call.signs.predicted_speed is None
    assert connect.layers[0].one_call.signs.memory_ratio == 32


def test_dense_layers_by_hand():
    cost = count(
        nn.Sequential(XNORLinear(7, 3), BWNLinear(3, 2), BinaryConnectLinear(2, 5, bias=False)), (7,)
    )
    assert [layer.macs for layer in cost.layers] == [21, 6, 10]
    assert [layer.binary_operations for layer in cost.layers] == [21, 0, 0]
    assert [layer.parameter_bits for layer in cost.layers] == [21 + 32 * 6, 6 + 32 * 4, 10]
    assert [layer.other_operations for layer in cost.layers] == [7 + 2 * 3, 2 * 2, 0]
    assert cost.layers[0].rule.endswith("E + 2·N = 7 + 2·3 = 13 other")
    assert linear_parameters(cost) == cost.parameters == 24 + 8 + 10


def test_scales_of_inputs_are_products_of_floats():
    network = XNORConv2d(6, 4, 3, stride=2, groups=2, scale_inputs=True)
    cost, products = count(network, (6, 7, 9)), 3 * 4 * 4 * 27
    assert cost.binary_operations == products
    assert cost.macs == products + 3 * 4 * 9 * 2  # a 3x3 box for each group
    assert "3·4·3²·2" in cost.layers[0].rule
    assert cost.other_operations == 3 * 6 * 7 * 9 + 3 * 3 * 4 * 4  # modulus, sum, sign; K, alpha, bias
    dense = count(XNORLinear(7, 3, bias=False, scale_inputs=True), (7,))
    assert (dense.macs, dense.other_operations) == (21, 3 * 7 + 2 * 3)


LAYERS = [
    (XNORConv2d(4, 6, 3, 2, 1, 2, 2), (4, 9, 8)),
    (XNORConv2d(4, 6, (2, 4), padding="same", scale_inputs=True), (4, 5, 6)),
    (XNORConv2d(4, 6, (3, 2), padding=(2, 1), padding_value=1), (4, 5, 6)),
    (BWNConv2d(4, 6, 4, padding="same", dilation=(1, 3)), (4, 9, 8)),
    (BinaryConnectConv2d(4, 6, (1, 3), padding="valid", stochastic=True), (4, 5, 6)),
    (XNORLinear(5, 3, scale_inputs=True), (4, 5)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda x: type(x).__name__)
def test_products_and_shapes_are_those_of_the_layer_itself(layer, shape):
    layer.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        out = layer(torch.randn(2, *shape))
    cost = count(layer, torch.empty(2, *shape))
    assert cost.macs == counter.get_total_flops() / 2
    assert cost.layers[0].output == tuple(out.shape)
    assert len(cost.layers) == 1
    assert not cost.without_rule


@pytest.mark.parametrize(("layer", "shape"), LAYERS[:5], ids=lambda x: type(x).__name__)
def test_fields_are_those_of_the_float_convolution(layer, shape):
    before = layer.windows()
    (top, left), (bottom, right) = before.before, before.after
    twin = nn.Sequential(
        nn.ZeroPad2d((left, right, top, bottom)),
        nn.Conv2d(4, 6, layer.kernel_size, layer.stride, 0, layer.dilation, layer.groups),
    )
    ours, theirs = count(layer, shape).layers[-1], count(twin, shape).layers[-1]
    assert [f.unbounded for f in ours.fields[2:]] == [f.unbounded for f in theirs.fields[2:]]
    for axis in (2, 3):
        places = range(ours.output[axis])
        assert [ours.fields[axis].region(i) for i in places] == [
            theirs.fields[axis].region(i) for i in places
        ]


def test_a_layer_that_is_used_twice_has_its_bits_once():
    layer = XNORConv2d(2, 2, 3, padding=1, bias=False)
    cost = count(Calls(lambda n, x: n.one(n.one(x)), one=layer), (2, 4, 4))
    assert (cost.macs, cost.binary_operations) == (2 * 16 * 36, 2 * 16 * 36)
    assert cost.parameter_bits == 36 + 32 * 2


def test_weights_that_two_layers_share_have_their_bits_once():
    one, two = XNORConv2d(2, 2, 1), XNORConv2d(2, 2, 1)
    two.weight = one.weight
    cost = count(nn.Sequential(one, two), (2, 4, 4))
    assert [layer.parameter_bits for layer in cost.layers] == [4 + 32 * 4, 32 * 2]
    assert cells(binary_table(priced(nn.Sequential(one, two), (2, 4, 4))))[1][3] == "64"


def test_wrong_inputs_name_the_layer():
    network = nn.Sequential(nn.ReLU(), XNORConv2d(3, 4, 3))
    with pytest.raises(LayerError, match=r"1 \(XNORConv2d\) does not take"):
        count(network, torch.zeros(1, 3, 5, 5, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"expected \(B, 3, H, W\), got \(1, 4, 5, 5\)"):
        count(network, (4, 5, 5))
    with pytest.raises(ValueError, match="smaller than one window"):
        count(network, (3, 2, 5))


def test_resnet_18_takes_eleven_times_less():
    cost = cost_of("xnor_resnet18").cost
    # signs of 16 convolutions, a scale for each of their 3,840 filters, and 704,040 floats
    assert cost.parameter_bits == 10_985_472 + 32 * (3_840 + 704_040) == 33_637_632
    assert round(cost.bits() / cost.parameter_bits, 2) == 11.12
    assert (cost.macs, cost.binary_operations) == (1_814_073_344, 1_676_279_808)
    plain = cost_of("resnet18").cost
    assert (plain.macs, plain.parameter_bits, plain.binary_operations) == (cost.macs, plain.bits(), 0)


def network():
    return nn.Sequential(nn.Conv2d(1, 64, 3, bias=False), XNORConv2d(64, 2, 3), BWNConv2d(2, 3, 2))


def test_what_is_stored_comes_back():
    one = priced(network(), (1, 8, 8))
    assert from_data(to_data(one)) == one
    data = to_data(one)
    work = data["layers"][1][-2]
    assert work[-1] == [576, 2, 2, 16 * 2 * 576]
    for wrong in ([576, 2, 2], [0, 2, 2, 5], [576, 2, 2, 10**9], [576, 2, 2.0, 5], "signs"):
        work[-1] = wrong
        with pytest.raises(ValueError, match=r"cost of a network|expected"):
            from_data(data)


def test_the_table_sets_predictions_beside_bits_and_names_the_command_for_time():
    table = binary_table(priced(network(), (1, 8, 8)))
    assert "prediction" in table.caption
    assert cells(table) == [
        ["1", "XNORConv2d", "576", "1,152 + 32·4 = 1,280", "30.32", "18,432", "57.60"],
        ["2", "BWNConv2d", "8", "24 + 32·6 = 216", "6.40", "0", "-"],
    ]
    text = " ".join(table.notes)
    assert "not a time" in text
    assert "concord bench binary" in text
    assert "MACs stay MACs" in text


def test_texts_of_a_network_have_its_bits_and_bit_products():
    one, plain = priced(network(), (1, 8, 8), name="A"), priced(nn.Linear(4, 2), (4,), name="B")
    said = dict(totals(one))
    # 576 floats, 1,280 and 216 bits of 1,757 parameters
    assert said["bits"].startswith("19,928 of parameters, 11.34 for each: 2.82 times less")
    assert said["bit products"] == "18,432 of the MACs; 20,952 are products of floats"
    assert not {"bits", "bit products"} & dict(totals(plain)).keys()
    assert [note for note in comparison([plain, one]).notes if note.startswith("A: bits 19,928")]
    lines = worked_answer(one)
    assert "  bits        1,152 + 32·4 = 1,280" in lines
    assert (
        "  predicted   memory 32·576/(576 + 32) = 30.32 times less, S = 64·576/(576 + 64) = 57.60"
        " (operations, not time)"
    ) in lines
    assert "concord bench binary" in cost_page([one])
    assert "Binary layers" not in cost_page([plain])


def test_the_document_has_bits_and_predictions_of_binary_layers_alone():
    document = priced(network(), (1, 8, 8)).to_dict()
    assert document["parameter_bits"] == 19_928
    assert document["bits_per_parameter"] == pytest.approx(19_928 / 1_757)
    assert document["binary_operations"] == 18_432
    first, xnor, bwn = document["layers"]
    assert (first["parameter_bits"], first["memory_ratio"], first["predicted_speed"]) == (
        32 * 576,
        None,
        None,
    )
    assert (xnor["parameter_bits"], xnor["binary_operations"]) == (1_280, 18_432)
    assert (xnor["memory_ratio"], xnor["predicted_speed"]) == (pytest.approx(32 * 576 / 608), 57.6)
    assert (bwn["binary_operations"], bwn["predicted_speed"]) == (0, None)
