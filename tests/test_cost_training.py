"""What an update costs equals closed forms, and what autograd runs and saves for real."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from cost_made import Calls
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from training_cost_made import trained

from concord.cost.training import count_training
from concord.errors import ShapeError, UsageError
from concord.layers.recurrent.lstm import LSTM
from concord.zoo.build import build


def rows(cost):
    """path -> MACs of the forward pass, of gradients of inputs, of gradients of weights."""
    return {
        layer.path: (layer.forward_macs, layer.input_gradient_macs, layer.weight_gradient_macs)
        for layer in cost.layers
        if layer.macs
    }


# --- closed forms, by hand -----------------------------------------------------------------


def test_two_convolutions_by_hand():
    first = nn.Conv2d(3, 4, (3, 2), stride=2)  # 9 x 10 -> 4 x 5 places, 3·2·3·4 = 72 products each
    second = nn.Conv2d(4, 6, 2, dilation=(1, 2), groups=2)  # 4 x 5 -> 3 x 3 places, 2·2·2·6 = 48 each
    cost = count_training(nn.Sequential(first, nn.BatchNorm2d(4), second), (3, 9, 10), batch=5)
    assert rows(cost) == {"0": (5 * 20 * 72, 0, 5 * 20 * 72), "2": (5 * 9 * 48, 5 * 9 * 48, 5 * 9 * 48)}
    assert (cost.forward_macs, cost.backward_macs) == (9360, 7200 + 4320)
    assert (cost.macs, cost.batch, cost.learned) == (20_880, 5, 76 + 8 + 54)
    assert cost.macs_of(7) == 7 * 20_880


def test_a_grouped_convolution_costs_three_times_its_forward_pass_and_not_more():
    """torch's flop counter says 1 + 2 x 32 for one filter per channel."""
    network = nn.Sequential(nn.Conv2d(1, 32, 1), nn.Conv2d(32, 32, 3, groups=32))
    cost = count_training(network, (1, 7, 6), batch=1)
    assert rows(cost)["1"] == (5 * 4 * 9 * 32,) * 3


def test_an_up_convolution_by_hand():
    up = nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2)  # each of 5 x 3 inputs: 3·3·4·6 / 2 = 108 products
    cost = count_training(nn.Sequential(nn.Conv2d(1, 4, 1), up), (1, 5, 3), batch=2)
    assert rows(cost)["1"] == (2 * 15 * 108,) * 3


@pytest.mark.parametrize(("module", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_a_recurrent_layer_by_hand(module, gates):
    """The input needs no gradient, and neither does the first state: T - 1 products with U."""
    steps, batch, d, h = 5, 3, 2, 7
    cost = count_training(
        Calls(lambda n, x: n.cell(x)[0], cell=module(d, h, batch_first=True)), (steps, d), batch=batch
    )
    forward = batch * steps * gates * h * (d + h)
    assert rows(cost) == {"cell": (forward, batch * (steps - 1) * gates * h * h, forward)}


def test_attention_by_hand():
    """Q, K, V and output: 4 T E² with weights; Q K^T and A V: 2 T² E, of which both factors are inputs."""
    steps, e, batch = 5, 6, 3
    attention = nn.MultiheadAttention(e, 2, batch_first=True)
    network = Calls(
        lambda n, x: n.mha(n.first(x), n.first(x), n.first(x))[0], first=nn.Linear(4, e), mha=attention
    )
    cost = count_training(network, (steps, 4), batch=batch)
    weights, pairs = batch * 4 * steps * e * e, batch * 2 * steps * steps * e
    found = rows(cost)
    assert found["mha"] == (weights + pairs, weights + 2 * pairs, weights)
    assert found["first"] == (3 * batch * steps * 4 * e, 0, 3 * batch * steps * 4 * e)


def test_normalisations_activations_and_pooling_have_no_products():
    layers = nn.Sequential(
        nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.GELU(), nn.MaxPool2d(2), nn.GroupNorm(3, 3), nn.Softmax(1),
        nn.AvgPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear"), nn.Dropout(), nn.LayerNorm(2),
        nn.PReLU(), nn.Hardswish(), nn.LeakyReLU(), nn.GLU(2), nn.AdaptiveMaxPool2d(1), nn.LogSigmoid(),
    )  # fmt: skip
    cost = count_training(layers, (2, 4, 4), batch=3)
    assert rows(cost) == {"0": (3 * 16 * 6, 0, 3 * 16 * 6)}
    assert cost.without_rule == ()


def test_a_product_of_a_matrix_and_a_vector_costs_its_gradients():
    """mv(W, v): torch makes the gradient of W as an outer product, which is no matrix product for it."""
    network = Calls(lambda n, x: n.weight @ (n.scale @ x[0]))
    network.weight, network.scale = nn.Parameter(torch.zeros(3, 5)), nn.Parameter(torch.zeros(5, 4))
    cost = count_training(network, torch.zeros(1, 4))
    assert (cost.forward_macs, cost.input_gradient_macs, cost.weight_gradient_macs) == (35, 15, 35)


def test_a_product_of_weights_alone_is_made_once_for_a_batch_and_its_gradients_are_those_of_weights():
    """W = A B: (3 x 2)(2 x 5), and x W of 4 samples."""
    network = Calls(lambda n, x: x @ (n.a @ n.b))
    network.a, network.b = nn.Parameter(torch.zeros(3, 2)), nn.Parameter(torch.zeros(2, 5))
    cost = count_training(network, (3,), batch=4)
    assert (cost.forward_macs, cost.input_gradient_macs, cost.weight_gradient_macs) == (
        30 + 60,
        0,
        2 * 30 + 60,
    )


# --- what needs no gradient ---------------------------------------------------------------


def chain():
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2))


def test_what_lies_before_the_first_layer_that_learns_has_no_backward_pass():
    network = chain()
    network[0].requires_grad_(False)
    assert rows(count_training(network, (3,), batch=2)) == {
        "0": (30, 0, 0),
        "2": (70, 0, 70),
        "4": (28, 28, 28),
    }


def test_frozen_weights_hand_gradients_on():
    network = chain()
    network[2].requires_grad_(False)
    cost = count_training(network, (3,), batch=2)
    assert rows(cost) == {"0": (30, 0, 30), "2": (70, 70, 0), "4": (28, 28, 28)}
    assert cost.learned == 20 + 16


def test_a_teacher_costs_its_forward_pass_in_evaluation_and_keeps_nothing():
    network = Calls(
        lambda n, x: n.extra(x) if n.training else n.one(x), one=nn.Linear(3, 5), extra=nn.Linear(3, 9)
    )
    cost = count_training(network.requires_grad_(False), (3,), batch=2)
    assert (cost.macs, cost.forward_macs, cost.kept_bytes, cost.learned) == (30, 30, 0, 0)


def test_what_is_cut_off_by_the_network_has_no_backward_pass():
    network = Calls(lambda n, x: n.two(n.one(x).detach()), one=nn.Linear(3, 5), two=nn.Linear(5, 7))
    assert rows(count_training(network, (3,), batch=2)) == {"one": (30, 0, 0), "two": (70, 0, 70)}


def test_a_layer_that_runs_twice_costs_twice():
    network = Calls(lambda n, x: n.layer(n.layer(x)), layer=nn.Linear(4, 4))
    assert rows(count_training(network, (4,), batch=3)) == {"layer": (96, 48, 96)}


def test_what_is_computed_again_for_its_gradients_counts_again():
    """The second layer of the checkpoint is not computed again: what it saves is its input."""
    from torch.utils.checkpoint import checkpoint

    def f(n, x):
        return n.two(checkpoint(n.one, n.zero(x), use_reentrant=False))

    one = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4))
    network = Calls(f, zero=nn.Linear(2, 3), one=one, two=nn.Linear(4, 7))
    found = rows(count_training(network, (2,), batch=2))
    expected = {"zero": (12, 0, 12), "one.0": (2 * 30, 30, 30), "one.2": (40, 40, 40), "two": (56, 56, 56)}
    assert found == expected


def test_every_output_gets_a_gradient():
    network = Calls(
        lambda n, x: {"a": n.one(x), "b": [n.two(x), x.long()]}, one=nn.Linear(3, 5), two=nn.Linear(3, 7)
    )
    assert rows(count_training(network, (3,), batch=2)) == {"one": (30, 0, 30), "two": (42, 0, 42)}


def test_a_weight_that_the_input_changes_in_place_stays_a_weight():
    def f(n, x):
        with torch.no_grad():
            n.two.weight.add_(x.mean())
        return n.two(n.one(x))

    network = Calls(f, one=nn.Linear(3, 5), two=nn.Linear(5, 7))
    assert rows(count_training(network, (3,), batch=2)) == {"one": (30, 0, 30), "two": (70, 70, 70)}


# --- bytes ------------------------------------------------------------------------------------


def test_bytes_of_a_layer_by_hand():
    """Forward: reads 5 x 3 and 3 x 2 numbers, writes 5 x 2; for W: reads 5 x 2 and 5 x 3, writes 3 x 2."""
    cost = count_training(nn.Linear(3, 2, bias=False), (3,), batch=5)
    assert (cost.moved_bytes, cost.kept_bytes) == (4 * (15 + 6 + 10) + 4 * (10 + 15 + 6), 4 * 15)


def test_a_convolution_reads_what_its_gradients_need():
    """Bytes of 2 x 3 numbers a pixel, 6 weights, 1 x 1 kernel and 4 pixels: x 12, y 8, W 6 numbers."""
    conv = nn.Conv2d(3, 2, 1, bias=False)
    forward, weights, inputs = 12 + 6 + 8, 8 + 12 + 6, 8 + 6 + 12
    assert count_training(conv, (3, 2, 2), batch=1).moved_bytes == 4 * (forward + weights)
    behind = Calls(lambda n, x: n.conv(x * n.scale), conv=deepcopy(conv).requires_grad_(False))
    behind.scale = nn.Parameter(torch.ones(()))
    layers = {layer.path: layer.moved_bytes for layer in count_training(behind, (3, 2, 2), batch=1).layers}
    assert layers["conv"] == 4 * (forward + inputs)


def test_what_a_layer_in_place_moves_backwards_is_its_own():
    """An operation in place that keeps a copy of its input has two nodes in the graph of autograd."""
    network = nn.Sequential(nn.Linear(3, 5), nn.ReLU6(inplace=True), nn.Linear(5, 7))
    cost = count_training(network, (3,), batch=2)
    assert [layer.path for layer in cost.layers] == ["0", "1", "2"]
    # a copy: 10 read, 10 written; in place the same; backwards the gradient and the copy read, 10 written
    assert cost.layers[1].moved_bytes == 4 * (20 + 20 + 30)


def test_what_is_expanded_looked_up_or_changed_in_place_moves_what_it_has():
    def f(n, x):
        return (n.table(x).expand(6, -1, -1, -1) + 1).relu_()

    cost = count_training(
        Calls(f, table=nn.Embedding(1000, 3).requires_grad_(False)), torch.zeros(2, 5, dtype=torch.int64)
    )
    rows_read = 2 * 5 * (8 + 12) + 120  # ids and their rows, and the maps of 30 numbers that are written
    assert cost.moved_bytes == rows_read + (120 + 6 * 120) + 2 * 6 * 120


def test_drawing_zeros_for_dropout_moves_what_it_draws():
    """10 places: drawn 10; divided 10 + 10; multiplied 20 + 10, and backwards the same."""
    cost = count_training(nn.Sequential(nn.Linear(3, 5), nn.Dropout()), (3,), batch=2)
    assert [layer.moved_bytes for layer in cost.layers if layer.path == "1"] == [4 * (10 + 20 + 30 + 30)]


def test_half_precision_keeps_half_the_bytes():
    one, half = (count_training(chain().to(kind), (3,), batch=8) for kind in (torch.float32, torch.bfloat16))
    assert (2 * half.kept_bytes, half.macs) == (one.kept_bytes, one.macs)
    assert one.kept_bytes == 4 * 8 * (3 + 5 + 7)  # the input, and what both ReLUs give


# --- what autograd runs and saves for real --------------------------------------------------------

REAL = {
    "lenet5": (1, 28, 28),
    "resnet20": (3, 32, 32),
    "densenet_bc100_12": (3, 32, 32),
    "mobilenet_v2": (3, 32, 32),
    "torchvision/shufflenet_v2_x0_5": (3, 32, 32),
    "torchvision/googlenet": (3, 64, 64),
    "torchvision/mobilenet_v3_small": (3, 32, 32),
    "noel2017_m": (1, 28, 28),
    "yolo_small_v3": (3, 64, 64),
    "xnor_lenet5": (1, 28, 28),
    "bwn_lenet5": (1, 28, 28),
    "tcn_mnist": (40, 1),
}


@pytest.mark.parametrize("name", REAL)
def test_a_network_costs_what_autograd_runs_and_keeps_what_autograd_saves(name):
    shape = REAL[name]
    network = build(name, channels=shape[0] if len(shape) == 3 else shape[1], classes=10).train()
    cost = count_training(network, shape, batch=2)
    seen, kept = trained(network, torch.randn(2, *shape))
    assert (cost.forward_macs, cost.backward_macs) == (seen.forward, seen.backward)
    assert (cost.kept_bytes, cost.device, cost.without_rule) == (kept, "meta", ())
    wanted = [mask for _, *mask in seen.masks]
    assert wanted.count([False, True]) >= 1  # the first convolution


@pytest.mark.parametrize("name", ["torchvision/vit_b_32", "torchvision/swin_t"])
def test_attention_costs_what_autograd_runs_in_its_parts(name):
    network = build(name, channels=3, classes=10).train()
    cost = count_training(network, (3, 224, 224), batch=1)
    with sdpa_kernel(SDPBackend.MATH):
        seen, kept = trained(network, torch.randn(1, 3, 224, 224))
    assert (cost.forward_macs, cost.backward_macs, cost.kept_bytes) == (seen.forward, seen.backward, kept)


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_cells_cost_what_autograd_runs(name):
    network = build(name, channels=1, classes=10).train()
    cost = count_training(network, (9, 1), batch=2)
    seen, _ = trained(network, torch.randn(2, 9, 1))
    assert (cost.forward_macs, cost.backward_macs) == (seen.forward, seen.backward)


def test_peepholes_cost_the_same_as_the_products_of_their_steps():
    """On a processor NumPy runs these steps, and no operation of torch shows the products."""
    network = Calls(lambda n, x: n.cell(x)[0], cell=LSTM(2, 7, peephole="full"))
    cost = count_training(network, torch.zeros(5, 3, 2))
    forward, own, peephole = 3 * 5 * 4 * 7 * 9, 3 * 4 * 7 * 7, 3 * 7 * 7
    gradients = (
        4 * own + (2 * 4 + 5) * peephole
    )  # of states: the first is given, for i and f; o sees the new one
    assert rows(cost)["cell"] == (forward + 5 * 3 * peephole, gradients, forward + 5 * 3 * peephole)


sizes = st.integers(1, 4)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_convolution_costs_what_autograd_runs(data):
    groups, k = data.draw(sizes), data.draw(sizes)
    stride, dilation, padding = data.draw(sizes), data.draw(st.integers(1, 2)), data.draw(st.integers(0, 2))
    kind = data.draw(
        st.sampled_from([nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d])
    )
    options = {"stride": stride, "dilation": dilation, "padding": padding, "groups": groups}
    layer = kind(
        groups * data.draw(sizes), groups * data.draw(sizes), k, bias=data.draw(st.booleans()), **options
    )
    layer.weight.requires_grad_(data.draw(st.booleans()))
    axes = layer.weight.ndim - 2
    network = Calls(lambda n, x: n.layer(x * n.scale), layer=layer)
    network.scale = nn.Parameter(torch.ones(()), requires_grad=data.draw(st.booleans()))
    if not any(p.requires_grad for p in network.parameters()):
        return
    shape = (layer.in_channels, *[data.draw(st.integers(8, 11))] * axes)
    cost = count_training(network, shape, batch=2)
    seen, kept = trained(network, torch.randn(2, *shape))
    assert (cost.forward_macs, cost.backward_macs, cost.kept_bytes) == (seen.forward, seen.backward, kept)


# --- a run for real, and a process that is as it was ------------------------------------------------


class Looks(nn.Module):
    """Needs numbers."""

    def __init__(self):
        super().__init__()
        self.one, self.norm, self.drop = nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout()

    def forward(self, x):
        y = self.drop(self.norm(self.one(x)))
        return y if y.sum() < 1e9 else y[:1]


def test_a_network_that_needs_numbers_trains_on_a_copy():
    network = Looks().eval()
    before, generator = deepcopy(network.state_dict()), torch.get_rng_state()
    cost = count_training(network, (3,), batch=4)
    assert (cost.device, rows(cost)) == ("cpu", {"one": (60, 0, 60)})
    assert all(torch.equal(a, b) for a, b in zip(before.values(), network.state_dict().values(), strict=True))
    assert all(p.grad is None for p in network.parameters())
    assert not network.norm.training
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.backends.mkldnn.enabled
    assert torch.is_grad_enabled()


def test_cells_that_run_for_real_show_their_products():
    """oneDNN's kernel for LSTMs would hide them."""

    def f(n, x):
        return n.cell(x)[0] * (1 if x.sum() < 1e9 else 2)

    cost = count_training(Calls(f, cell=nn.LSTM(2, 7, batch_first=True)), (5, 2), batch=3)
    assert (cost.device, cost.forward_macs) == ("cpu", 3 * 5 * 4 * 7 * 9)


def test_gradients_are_counted_where_they_are_switched_off():
    with torch.no_grad():
        one = count_training(chain(), (3,))
    with torch.inference_mode():
        other = count_training(chain(), (3,))
    assert one == other == count_training(chain(), (3,))
    assert one.batch == 64


def test_a_network_on_the_meta_device_keeps_its_modes():
    network = chain().to("meta").eval()
    count_training(network, (3,), batch=2)
    assert not any(module.training for module in network.modules())


class Locked(nn.Module):
    """Cannot be copied."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(3, 5)

    def __deepcopy__(self, memo):
        raise TypeError("locked")

    def forward(self, x):
        return self.one(x)


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(UsageError, match="Locked cannot be copied, and this pass would change it: TypeError"):
        count_training(Locked(), (3,))
    with pytest.raises(UsageError, match="at least 1, got 0"):
        count_training(chain(), (3,), batch=0)
    with pytest.raises(UsageError, match="got 4; the tensors have 2 samples"):
        count_training(chain(), torch.zeros(2, 3), batch=4)
    with pytest.raises(
        ShapeError, match=r"2 \(BatchNorm1d\) does not take its input of shape \(1, 4\): Expected more"
    ):
        count_training(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(4)), (3,), batch=1)
    with pytest.raises(ShapeError, match="does not take its input"):
        count_training(chain(), (4,))
    with pytest.raises(UsageError, match="at least 0 updates, got -1"):
        count_training(chain(), (3,)).macs_of(-1)


def test_an_operation_that_may_hide_products_is_named():
    network = Calls(lambda n, x: torch.cdist(n.one(x), x.repeat(1, 2)[:, :5], p=1.0), one=nn.Linear(3, 5))
    assert "_cdist_backward" in count_training(network, (3,)).without_rule


# --- identities over networks ------------------------------------------------------------------------


def test_a_larger_batch_costs_in_proportion():
    small, large = (
        count_training(build("resnet20", channels=3, classes=10), (3, 32, 32), batch=b) for b in (2, 6)
    )
    assert (large.macs, large.backward_macs) == (3 * small.macs, 3 * small.backward_macs)
    assert 2 < large.kept_bytes / small.kept_bytes <= 3  # statistics of a batch do not grow
    assert replace(small, batch=6, layers=large.layers) == large


@pytest.mark.parametrize("norm", [weight_norm, spectral_norm])
def test_weights_that_are_computed_get_the_gradients_of_weights(norm):
    network = nn.Sequential(nn.Linear(3, 5), norm(nn.Linear(5, 7)))
    cost = count_training(network, (3,), batch=4)
    plain = count_training(nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 7)), (3,), batch=4)
    assert cost.input_gradient_macs == plain.input_gradient_macs == 4 * 35
    more = cost.weight_gradient_macs - plain.weight_gradient_macs
    assert more == (0 if norm is weight_norm else 35 + 7)  # sigma = u (W v), of which u and v are given
