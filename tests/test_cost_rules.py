"""Rules of layers equal what happens without them, and the text of every rule gives its number."""

from copy import deepcopy
from inspect import signature

import pytest
import torch
import torch.nn.functional as F
from cost_made import Calls
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from concord.cost import cells, walk
from concord.cost.arithmetic import Windows, convolution, output_size
from concord.cost.binary import BINARY
from concord.cost.count import count
from concord.cost.modules import LEAVES
from concord.cost.rules import substituted, worked
from concord.layers.normalisation import ShiftBatchNorm2d
from concord.zoo import registry as zoo
from concord.zoo.skeleton import skeleton


class After(nn.Module):
    """A layer, and one operation that shows the fields of its output."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return -self.layer(x)


def measured(network, *inputs):
    cost = count(network, *inputs)
    last = [row for row in cost.layers if not row.type.endswith("not used")][-1]
    spent = cost.parameters, cost.macs, cost.other_operations, cost.activations, cost.peak_activations
    return spent, last.output, last.fields


@pytest.fixture
def without_rules(monkeypatch):
    """A function that forgets what is known of layers."""

    def forget():
        monkeypatch.setattr(walk, "LEAVES", {})
        monkeypatch.setattr(cells, "CELLS", {})

    return forget


# --- layers ---------------------------------------------------------------------------

# torch computes these two in several steps, each with a tensor; here they are one function of an element.
IN_STEPS = {nn.Softsign, nn.Tanhshrink}
CONVOLUTIONS = [
    (nn.Conv1d(4, 6, 3, 2, 1), (4, 11)),
    (nn.Conv1d(4, 6, 3, dilation=2, groups=2, bias=False), (4, 11)),
    (nn.Conv2d(4, 6, 3), (4, 7, 9)),
    (nn.Conv2d(4, 4, (3, 2), (2, 3), (1, 0), (1, 2), groups=4), (4, 9, 8)),
    (nn.Conv2d(4, 8, 5, 2, 2, groups=2, bias=False), (4, 9, 9)),
    (nn.Conv2d(4, 6, 3, padding="same"), (4, 7, 9)),
    (nn.Conv2d(4, 6, 3, padding="valid"), (4, 7, 9)),
    (nn.Conv2d(4, 6, 4, padding="same", dilation=3), (4, 17, 19)),
    (nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), (4, 7, 9)),
    (nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (4, 7, 9)),
    (nn.Conv2d(1, 1, 1), (1, 1, 1)),
    (nn.Conv3d(2, 3, 2, 2), (2, 4, 5, 6)),
    (nn.Conv3d(2, 3, (1, 2, 3), padding=(0, 1, 1), bias=False), (2, 4, 5, 6)),
]
NORMALISATIONS = [
    (nn.BatchNorm1d(4), (4,)),
    (nn.BatchNorm1d(4, affine=False), (4, 7)),
    (nn.BatchNorm2d(4), (4, 5, 6)),
    (nn.BatchNorm2d(4, affine=False), (4, 5, 6)),
    (nn.BatchNorm2d(4, track_running_stats=False), (4, 5, 6)),
    (nn.BatchNorm3d(4), (4, 3, 2, 5)),
    (ShiftBatchNorm2d(4), (4, 5, 6)),
]
PLAIN = ("torch.nn.modules.activation", "torch.nn.modules.dropout")
EXCEPTED = {nn.Dropout1d, *IN_STEPS}
IN_PLACE = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.ELU, nn.CELU, nn.SELU, nn.Mish, nn.LeakyReLU)
IN_PLACE = (*IN_PLACE, nn.Hardtanh, nn.Hardsigmoid, nn.Dropout2d)
SETTINGS = [
    *CONVOLUTIONS,
    *NORMALISATIONS,
    (nn.Linear(6, 5), (6,)),
    (nn.Linear(6, 5, bias=False), (6,)),
    (nn.Linear(6, 5), (3, 6)),
    (nn.Linear(6, 5, bias=False), (3, 6)),
    (nn.Identity(), (4, 5, 6)),
    (nn.Dropout1d(), (4, 5)),
    *[(kind(), (4, 5, 6)) for kind in LEAVES if kind.__module__ in PLAIN and kind not in EXCEPTED],
    *[(kind(inplace=True), (4, 5, 6)) for kind in IN_PLACE],
]


def test_every_layer_with_a_rule_is_compared():
    assert {type(layer) for layer, _ in SETTINGS} | IN_STEPS == LEAVES.keys() - BINARY.keys()


@pytest.mark.parametrize(("layer", "shape"), SETTINGS, ids=str)
def test_rules_of_layers_equal_what_happens_without_them(layer, shape, without_rules):
    with_rule = measured(After(layer), shape)
    without_rules()
    assert with_rule == measured(After(layer), shape)
    with torch.no_grad():
        assert with_rule[1] == layer.eval()(torch.zeros(1, *shape)).shape


@pytest.mark.parametrize(("layer", "steps"), [(nn.Softsign(), 3), (nn.Tanhshrink(), 2)])
def test_functions_that_torch_computes_in_steps_count_as_one(layer, steps, without_rules):
    assert measured(layer, (4, 5, 6))[0] == (0, 0, 120, 120, 240)
    without_rules()
    assert measured(layer, (4, 5, 6))[0][2:4] == (steps * 120, steps * 120)


def test_in_place_layers_give_the_very_tensor_and_others_a_new_one():
    for layer in (nn.ReLU(inplace=True), nn.Dropout(), nn.Identity(), nn.AlphaDropout()):
        network = Calls(lambda n, x: 1 / (n.one(x) is x), one=layer)  # fails on another tensor
        assert count(network, (3, 4)).device == "meta"
    assert count(nn.ReLU(), (3, 4)).activations == 12


def batch_norm(m, x):
    return F.batch_norm(x, m.running_mean, m.running_var, m.weight, m.bias)


@pytest.mark.parametrize(
    ("layer", "function", "shape"),
    [
        (nn.Conv2d(4, 6, 3, 2, 1), lambda m, x: F.conv2d(x, m.weight, m.bias, 2, 1), (4, 7, 9)),
        (nn.Conv2d(4, 6, 3, groups=2), lambda m, x: F.conv2d(x, m.weight, m.bias, groups=2), (4, 7, 9)),
        (nn.Conv1d(4, 6, 3), lambda m, x: F.conv1d(x, m.weight, m.bias), (4, 7)),
        (nn.Conv3d(4, 6, 1), lambda m, x: F.conv3d(x, m.weight, m.bias), (4, 2, 3, 4)),
        (nn.ConvTranspose2d(4, 6, 3, 2), lambda m, x: F.conv_transpose2d(x, m.weight, m.bias, 2), (4, 5, 4)),
        (nn.Linear(6, 5), lambda m, x: F.linear(x, m.weight, m.bias), (6,)),
        (nn.Linear(6, 5), lambda m, x: F.linear(x, m.weight, m.bias), (3, 6)),
        (nn.Linear(6, 5, bias=False), lambda m, x: x @ m.weight.T, (6,)),
        (nn.Linear(6, 5, bias=False), lambda m, x: x @ m.weight.T, (3, 6)),
        (nn.Linear(6, 5, bias=False), lambda m, x: torch.einsum("btd,nd->btn", x, m.weight), (3, 6)),
        (nn.BatchNorm2d(4), batch_norm, (4, 5, 6)),
        (nn.LayerNorm(6), lambda m, x: F.layer_norm(x, (6,), m.weight, m.bias), (4, 5, 6)),
        (nn.ReLU(), lambda m, x: torch.relu(x), (4, 5, 6)),
        (nn.ReLU(), lambda m, x: x.clamp(min=0), (4, 5, 6)),
        (nn.Sigmoid(), lambda m, x: x.sigmoid(), (4, 5, 6)),
        (nn.MaxPool2d(3, 2, 1), lambda m, x: F.max_pool2d(x, 3, 2, 1), (4, 7, 9)),
        (nn.MaxPool1d(3), lambda m, x: F.max_pool1d(x, 3), (4, 7)),
        (nn.AvgPool2d(2, 1), lambda m, x: F.avg_pool2d(x, 2, 1), (4, 7, 9)),
        (nn.AvgPool1d(2), lambda m, x: F.avg_pool1d(x, 2), (4, 7)),
        (nn.AdaptiveAvgPool2d(1), lambda m, x: x.mean((2, 3), keepdim=True), (4, 7, 9)),
        (nn.AdaptiveAvgPool2d(2), lambda m, x: F.adaptive_avg_pool2d(x, 2), (4, 7, 9)),
        (nn.Upsample(None, 2), lambda m, x: F.interpolate(x, scale_factor=2), (4, 7, 9)),
        (nn.Upsample(7, mode="bilinear"), lambda m, x: F.interpolate(x, 7, mode="bilinear"), (4, 7, 9)),
        (nn.ZeroPad2d((1, 2, 3, 0)), lambda m, x: F.pad(x, (1, 2, 3, 0)), (4, 7, 9)),
        (nn.Softmax(1), lambda m, x: x.softmax(1), (4, 7, 9)),
        (nn.Flatten(), lambda m, x: x.view(1, -1), (4, 7, 9)),
        (nn.PixelShuffle(2), lambda m, x: F.pixel_shuffle(x, 2), (4, 7, 9)),
    ],
)  # fmt: skip
def test_functions_equal_modules(layer, function, shape):
    called = Calls(lambda n, x: -function(n.layer, x), layer=layer)
    assert measured(called, shape) == measured(After(layer), shape)


def test_products_of_any_form():
    x = torch.zeros(2, 3, 4)
    cost = count(Calls(lambda n, a, b: a @ b), x, torch.zeros(2, 4, 5))
    assert (cost.macs, cost.layers[0].rule) == (120, "B·P·D·N = 2·3·4·5 = 120 MACs")
    assert count(Calls(lambda n, a, b: torch.baddbmm(a @ b, a, b)), x, torch.zeros(2, 4, 5)).macs == 240
    assert count(Calls(lambda n, a, b: a[0, 0] @ b[0, 0]), x, x).macs == 4
    assert count(Calls(lambda n, a, b: a[0] @ b[0, 0]), x, x).macs == 12
    assert count(Calls(lambda n, a, b: torch.addmv(a[0, :, 0], a[0], b[0, 0])), x, x).macs == 12
    assert count(Calls(lambda n, a: torch.einsum("bti,bsi->bts", a, a)), x).macs == 2 * 3 * 3 * 4


def test_what_no_rule_knows_is_named():
    cost = count(Calls(lambda n, x: x.sort(-1).values.topk(2).indices[:, 0]), (5,))
    assert (cost.without_rule, cost.other_operations) == (("sort", "topk"), 0)


# --- sizes ------------------------------------------------------------------------------


def test_output_size_by_hand():
    assert output_size(128, 5, 2, 2, 1) == 64  # floor(127 / 2) + 1
    assert output_size(10, 3, 2, 0, 2) == 3  # a kernel of 3 with holes reaches 5
    windows = Windows((3,), (1,), (0,), (2,))
    assert convolution((1, 1, 4), (None,) * 3, 1, windows, groups=1, bias=False) is None


# --- text ---------------------------------------------------------------------------------


def value(formula):
    return eval(formula.replace("²", "**2").replace("³", "**3").replace("·", "*"))  # digits and signs only


def check_text(layer):
    """Each sentence of a rule: formula = substitution = result."""
    rule = layer.one_call.rule
    for sentence in layer.rule.split("; ") if layer.rule else ():
        if sentence.endswith("calls"):
            continue
        *formulas, result = sentence.split(" = ")
        written, unit = result.split(" ")
        formula, *numbers = formulas or [written.replace(",", "")]
        number = int(written.replace(",", ""))
        assert numbers in ([substituted(formula, rule.letters)], [])
        assert value(substituted(formula, rule.letters)) == number
        done = layer.one_call
        assert number == {"parameters": layer.parameters, "MACs": done.macs, "other": done.other}[unit]
    assert bool(layer.parameters) == ("parameters" in layer.rule)
    assert bool(layer.macs) == ("MACs" in layer.rule)
    assert bool(layer.other_operations) == (" other" in layer.rule)


NAMES = "alexnet vgg11_bn resnet18 resnext50_32x4d densenet121 mobilenet_v2 mobilenet_v3_small squeezenet1_1"
MORE = "shufflenet_v2_x0_5 googlenet convnext_tiny vit_b_32 swin_t regnet_y_400mf efficientnet_b0 mnasnet0_5"


@pytest.mark.parametrize("name", [*NAMES.split(), *MORE.split()])
def test_the_text_of_every_rule_gives_its_number(name):
    cost = count(skeleton(f"torchvision/{name}", channels=3, classes=1000), (3, 224, 224))
    for layer in cost.layers:
        check_text(layer)
    assert sum("MACs" in layer.rule for layer in cost.layers) >= 8


@pytest.mark.parametrize("name", zoo.names())
def test_every_figure_of_the_zoo_has_its_rule(name):
    entry = zoo.find(name)
    channels = signature(entry.build).parameters["channels"].default
    shapes = [torch.empty(1, *entry.example, device="meta")] if entry.example else []
    shapes += [torch.empty(1, entry.text[0], dtype=torch.int64, device="meta")] if entry.text else []
    for layer in count(skeleton(name, channels=channels, classes=10), *shapes).layers:
        check_text(layer)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [*CONVOLUTIONS, *NORMALISATIONS, (nn.ConvTranspose3d(2, 3, (1, 2, 3), 2, groups=1), (2, 3, 4, 5)),
     (nn.ConvTranspose2d(4, 4, 3, groups=4), (4, 5, 6)), (nn.ConvTranspose1d(4, 6, 3, groups=2), (4, 5)),
     (nn.Linear(6, 5), (2, 3, 6)), (nn.MaxPool2d((3, 2)), (2, 6, 6)), (nn.AvgPool3d(2), (2, 4, 4, 4))],
    ids=str,
)  # fmt: skip
def test_the_text_of_layers_gives_their_numbers(layer, shape):
    for samples in (1, 3):
        for row in count(layer, torch.zeros(samples, *shape)).layers:
            check_text(row)


def test_text_by_hand():
    rules = [
        (nn.Conv2d(4, 6, (3, 2), groups=2), (4, 5, 5), "K_h·K_w·M·N/G + N = 3·2·4·6/2 + 6 = 78 parameters; "
         "H·W·K_h·K_w·M·N/G = 3·4·3·2·4·6/2 = 864 MACs; H·W·N = 3·4·6 = 72 other"),
        (nn.Conv1d(4, 4, 3, groups=4, bias=False), (4, 5), "K·M = 3·4 = 12 parameters; "
         "T·K·M = 3·3·4 = 36 MACs"),
        (nn.Conv3d(1, 2, 2), (1, 3, 3, 3), "K³·M·N + N = 2³·1·2 + 2 = 18 parameters; "
         "D·H·W·K³·M·N = 2·2·2·2³·1·2 = 128 MACs; D·H·W·N = 2·2·2·2 = 16 other"),
        (nn.ConvTranspose2d(3, 2, 2, 2, bias=False), (3, 4, 5), "K²·M·N = 2²·3·2 = 24 parameters; "
         "H_in·W_in·K²·M·N = 4·5·2²·3·2 = 480 MACs"),
        (nn.GRU(3, 5, 2, bias=False), (7, 3), "G·H·(D + H) + (L - 1)·(G·H·(H + H)) = 3·5·(3 + 5) + (2 - 1)·"
         "(3·5·(5 + 5)) = 270 parameters; T·(G·H·(D + H) + (L - 1)·(G·H·(H + H))) = 7·(3·5·(3 + 5) + (2 - 1)·"
         "(3·5·(5 + 5))) = 1,890 MACs; T·L·(G·H + 7·H) = 7·2·(3·5 + 7·5) = 700 other"),
        (nn.MaxPool2d((3, 2)), (2, 6, 6), "E·(A - 1) = 12·(6 - 1) = 60 other"),
        (nn.LayerNorm(6), (4, 6), "2·6 = 12 parameters; 7·E = 7·24 = 168 other"),
        (nn.PReLU(), (4, 6), "1 parameters; E = 24 other"),
        (nn.ReLU(), (4, 300), "E = 1,200 other"),
    ]  # fmt: skip
    for layer, shape, text in rules:
        x = torch.zeros(1, *shape) if layer.__class__ is not nn.GRU else torch.zeros(*shape)
        assert count(layer, x).layers[0].rule == text


def test_parameters_that_no_rule_speaks_of_are_said_by_their_sizes():
    table = nn.Embedding(5, 3)
    tied = Calls(lambda s, x: s.out(s.table(x)), table=table, out=nn.Linear(3, 5))
    tied.out.weight = table.weight
    looked_up, product = count(tied, torch.zeros(1, 2, dtype=torch.int64)).layers
    assert looked_up.rule == "5·3 = 15 parameters"
    assert product.rule.startswith("5 parameters; P·D·N = 2·3·5 = 30 MACs")  # its bias; the rest is shared


def test_calls_that_bring_parameters_of_their_own_say_the_parameters_of_both():
    a, b = (nn.Parameter(torch.zeros(size)) for size in ((4, 1), (4, 3)))
    twice = Calls(lambda s, x: x * s.list[0] * s.list[1] * 2, list=nn.ParameterList([a, b]))
    (row,) = count(twice, (4, 3)).layers
    assert row.rule == "4 + 4·3 = 16 parameters; E = 12 other; 3 calls"


def test_a_layer_that_was_not_used_says_its_parameters():
    spare = Calls(lambda s, x: s.one(x), one=nn.ReLU(), two=nn.Linear(4, 6))
    assert count(spare, (3, 2)).layers[-1].rule == "6·4 + 6 = 30 parameters"


def test_nothing_is_written_twice():
    assert worked("7·5", {}, 35) == "7·5 = 35"
    assert worked("E", {"E": 1234}, 1234) == "E = 1,234"
    assert substituted("K_h·K·K_w + H_in", {"K": 2, "K_h": 3, "K_w": 5, "H_in": 7}) == "3·2·5 + 7"


# --- recurrent layers ------------------------------------------------------------------------

CELLS = [
    kind(3, 5, layers, bidirectional=both, batch_first=first, bias=bias)
    for kind in (nn.LSTM, nn.GRU, nn.RNN)
    for layers, both, first, bias in (
        (1, False, False, True),
        (1, True, True, False),
        (2, False, True, True),
        (3, True, False, True),
    )
]
CELLS += [nn.LSTM(3, 5, 2, bidirectional=both, proj_size=2, batch_first=both) for both in (False, True)]
CELLS += [nn.LSTM(3, 5, proj_size=4), nn.RNN(3, 5, nonlinearity="relu")]


def products(network, *inputs):
    """Multiply-accumulates that torch's own counter sees."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        deepcopy(network).to("meta")(*(x.to("meta") for x in inputs))
    return counter.get_total_flops() // 2


PROJECTED = "ignore:LSTM with projections is not supported with oneDNN"


@pytest.mark.filterwarnings(PROJECTED)
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_recurrent_layers_count_the_products_of_all_steps(cell, without_rules):
    x = torch.zeros(2, 7, 3)
    cost = count(cell, x)
    row = cost.layers[0]
    check_text(row)
    assert (len(cost.layers), row.calls) == (1, 1)
    assert cost.parameters == row.parameters == sum(p.numel() for p in cell.parameters())
    assert "parameters" in row.rule
    with torch.no_grad():
        assert row.output == cell(x)[0].shape
    without_rules()
    stepwise = count(cell, x)
    assert (cost.macs, cost.other_operations) == (stepwise.macs, stepwise.other_operations)
    assert cost.macs == products(cell, x)


@pytest.mark.filterwarnings(PROJECTED)
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_what_follows_a_recurrent_layer_gets_its_states(cell):
    def lengths(network, x):
        out, state = network.cell(x)
        sizes.append([tuple(s.shape) for s in (out, *(state if isinstance(state, tuple) else [state]))])
        return out

    for x in (torch.zeros(2, 7, 3), torch.zeros(7, 3)):
        sizes = []
        network = Calls(lengths, cell=cell).eval()
        assert count(network, x).device == "meta"
        with torch.no_grad():
            network(x)
        assert sizes[0] == sizes[1]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_an_initial_state_changes_nothing_and_is_checked(kind):
    cell = kind(3, 5, batch_first=True)
    state = torch.zeros(1, 2, 5)

    def started(network, x, h):
        return network.cell(x, (h, h) if kind is nn.LSTM else h)[0]

    network = Calls(started, cell=cell)
    x = torch.zeros(2, 7, 3)
    plain, cost = count(cell, x), count(network, x, state)
    assert (cost.macs, cost.other_operations) == (plain.macs, plain.other_operations)
    assert (cost.activations, [row.rule for row in cost.layers]) == (70, [plain.layers[0].rule])
    with pytest.raises(
        ValueError, match=r"cell \((LSTM|GRU|RNN)\) does not take its input of shape \(2, 7, 3\)"
    ):
        count(network, x, torch.zeros(1, 3, 5))


def test_one_sequence_without_a_batch():
    cell = nn.LSTM(3, 5, bidirectional=True)
    batched, alone = count(cell, torch.zeros(7, 1, 3)), count(cell, torch.zeros(7, 3))
    assert (alone.macs, alone.layers[0].output) == (batched.macs, (7, 10))


def test_states_see_everything():
    def gated(network, x):
        return x * network.cell(x.mean(3).transpose(1, 2))[1][0].mean()

    cost = count(Calls(gated, cell=nn.LSTM(2, 5)), (2, 8, 8))
    assert (cost.layers[-1].type, cost.layers[-1].fields) == ("mul", (None,) * 4)
    assert cost.without_rule == ()


def test_recurrent_layers_of_another_kind_are_counted_step_by_step():
    class Own(nn.LSTM):
        pass

    packed = Calls(
        lambda n, x: n.cell(nn.utils.rnn.pack_sequence([x[0], x[1, :4]]))[1][0], cell=nn.LSTM(3, 5)
    )
    assert count(Own(3, 5), torch.zeros(7, 2, 3)).macs == count(nn.LSTM(3, 5), torch.zeros(7, 2, 3)).macs
    assert count(packed, torch.zeros(2, 7, 3)).macs == 11 * 4 * 5 * 8
    assert count(nn.LSTMCell(3, 5), (3,)).macs == 160


def test_every_layer_of_a_recurrent_stack_writes_its_sequence():
    # 7 steps of 5 units: each layer as many as the last one, whose output the row of one layer has alone.
    one, three = (count(nn.LSTM(3, 5, layers, batch_first=True), (7, 3)) for layers in (1, 3))
    apart = count(nn.Sequential(*[Calls(lambda s, x: s.rnn(x)[0], rnn=nn.LSTM(n, 5, batch_first=True))
                                  for n in (3, 5, 5)]), (7, 3))  # fmt: skip
    assert (one.activations, three.activations) == (35, 3 * 35)
    assert apart.activations == three.activations
    assert three.peak_activations == 7 * 3 + 2 * 35  # its input, what one layer reads and what it writes


POOLS = [nn.MaxPool1d(2), nn.AvgPool1d(3, 2), nn.AdaptiveAvgPool1d(3), nn.AdaptiveMaxPool1d(2)]


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_pooling_of_sequences_gives_sequences(pool):
    row = count(pool, (4, 12)).layers[0]
    assert row.output == tuple(pool(torch.zeros(1, 4, 12)).shape)
    assert row.fields == count(After(pool), (4, 12)).layers[-1].fields
    assert (
        row.fields[2].size
        == {"MaxPool1d": 2, "AvgPool1d": 3, "AdaptiveAvgPool1d": 4, "AdaptiveMaxPool1d": 6}[row.type]
    )
