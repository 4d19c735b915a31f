"""Binary layers as bits: the numbers of the layers in floats, their state on disk, and what is refused."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_made import filled, in_floats, maps, packed_as_floats
from safetensors.torch import load_file, save_file
from torch import nn

from concord.errors import CheckpointError, DataError, ShapeError, UsageError
from concord.layers import pack
from concord.layers.binary.convolution import BinaryConnectConv2d, BWNConv2d, XNORConv2d
from concord.layers.binary.dense import BinaryConnectLinear, BWNLinear, XNORLinear
from concord.layers.packed.convolution import PackedConv2d, PackedLinear
from concord.layers.packed.weights import PackedWeightsConv2d

CONVOLUTIONS = [BinaryConnectConv2d, BWNConv2d, XNORConv2d]
DENSE = [BinaryConnectLinear, BWNLinear, XNORLinear]
OPTIONS = [
    {},
    {"bias": False, "padding": 1},
    {"padding": (1, 2), "stride": (2, 1), "dilation": (1, 2)},
    {"padding": "same"},
    {"groups": 2, "padding": 1},
]
XNOR_OPTIONS = [
    {"padding_value": 1, "padding": (2, 1)},
    {"padding_value": 1, "padding": "same", "scale_inputs": True},
    {"scale_inputs": True, "groups": 2, "padding": 1, "stride": 2},
]


@pytest.mark.parametrize("kernel", [1, (2, 3), (3, 1), 4])
@pytest.mark.parametrize(
    ("kind", "options"),
    [(kind, options) for kind in CONVOLUTIONS for options in OPTIONS]
    + [(XNORConv2d, options) for options in XNOR_OPTIONS],
)
def test_a_convolution_alone_gives_the_same_numbers(kind, options, kernel):
    layer = filled(kind(70, 6, kernel, **options))
    for x in (maps(2, 70, 6, 5), maps(3, 70, 7, 7, seed=1).to(memory_format=torch.channels_last)):
        packed_as_floats(layer, x)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kind", "options"), [*((k, {}) for k in DENSE), (XNORLinear, {"scale_inputs": True})]
)
def test_a_dense_layer_alone_gives_the_same_numbers(kind, options, bias):
    layer = filled(kind(131, 5, bias=bias, **options))
    packed_as_floats(layer, maps(131), maps(4, 131), maps(2, 3, 131), maps(0, 131))


def test_a_dense_layer_by_hand():
    layer = XNORLinear(4, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, 1.0, -1.5, -5.0]]))
        layer.bias.fill_(10)
    made = pack(layer)
    # signs + + - - of weights and + - + + of inputs: -2, with alpha = 2 and the bias 10
    assert made(torch.tensor([[3.0, -2.0, -0.0, 1.0]])).tolist() == [[6]]
    assert made.weight.tolist() == [[[0b1100]]]
    assert made.alpha.tolist() == [2]


@st.composite
def layers(draw):
    groups = draw(st.sampled_from([1, 1, 2]))
    c, o = groups * draw(st.integers(1, 130 // groups)), groups * draw(st.integers(1, 66 // groups))
    kernel = draw(st.tuples(*[st.integers(1, 4)] * 2))
    options = {"groups": groups, "bias": draw(st.booleans()), "padding_value": draw(st.integers(0, 1))}
    options["scale_inputs"] = draw(st.booleans())
    options["padding"] = draw(st.sampled_from(["same", "valid", 0, 1, (0, 2), (3, 1)]))
    if options["padding"] != "same":
        options["stride"] = draw(st.tuples(*[st.integers(1, 3)] * 2))
    sides = [k + draw(st.integers(0, 5)) for k in kernel]
    return (c, o, kernel), options, (draw(st.integers(1, 3)), c, *sides)


@settings(max_examples=60, deadline=None)
@given(layers(), st.integers(0, 99))
def test_random_convolutions_give_the_same_numbers(made, seed):
    sizes, options, shape = made
    packed_as_floats(filled(XNORConv2d(*sizes, **options), seed), maps(*shape, seed=seed))


def network():
    """A layer of every kind; the layers in floats have few weights."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        XNORConv2d(64, 128, 3, padding=1, bias=False),
        nn.BatchNorm2d(128),
        XNORConv2d(128, 128, 3, padding=1, bias=False),
        nn.BatchNorm2d(128),
        BWNConv2d(128, 64, 3, bias=False),
        BinaryConnectConv2d(64, 64, 3, bias=False),
        nn.Flatten(),
        nn.BatchNorm1d(256),
        XNORLinear(256, 64),
        BWNLinear(64, 64),
        BinaryConnectLinear(64, 10),
    )


def contiguous(state):
    """As safetensors takes it."""
    return {name: value.contiguous() for name, value in state.items()}


def test_a_state_dict_carries_a_packed_network_to_another(tmp_path):
    one, other = pack(filled(network(), 1)), pack(network().eval())
    x = maps(2, 3, 6, 6)
    assert not torch.equal(one(x), other(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))
    signs = [m.signs for m in other.modules() if isinstance(m, PackedWeightsConv2d)]
    assert [s.is_contiguous(memory_format=torch.channels_last) for s in signs] == [True, True]
    save_file(contiguous(one.state_dict()), tmp_path / "packed.safetensors")
    again = pack(network().eval())
    again.load_state_dict(load_file(tmp_path / "packed.safetensors"))
    assert torch.equal(one(x), again(x))


def test_a_packed_network_takes_close_to_one_bit_for_each_binary_weight(tmp_path):
    own = network()
    weights = sum(m.weight.numel() for m in own.modules() if hasattr(m, "undecayed"))
    save_file(contiguous(pack(own).state_dict()), tmp_path / "packed.safetensors")
    bits = 8 * (tmp_path / "packed.safetensors").stat().st_size
    assert weights == 128 * 64 * 9 + 128 * 128 * 9 + 64 * 128 * 9 + 64 * 64 * 9 + 256 * 64 + 64 * 64 + 64 * 10
    rest = 32 * (3 * 64 * 9 + 64 + 4 * 64 + 4 * 128 + 4 * 128 + 4 * 256 + 64 * 6)
    assert weights < bits < weights + rest + 8 * 6000  # the rest: floats, and names of tensors


@pytest.mark.parametrize("again", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_copies_and_pickles_give_the_same_numbers(again):
    made = pack(filled(network()))
    x = maps(2, 3, 6, 6)
    copied = again(made)
    assert torch.equal(copied(x), made(x))
    copied.load_state_dict(pack(filled(network(), 5)).state_dict())
    assert torch.equal(copied(x), pack(filled(network(), 5))(x))
    assert not torch.equal(copied(x), made(x))


def test_the_network_that_was_packed_is_left_as_it_was():
    own = network().train()
    before = copy.deepcopy(own.state_dict())
    pack(own)
    assert own.training
    assert all(p.requires_grad for p in own.parameters())
    assert all(torch.equal(before[name], value) for name, value in own.state_dict().items())
    assert type(own[2]) is XNORConv2d


def test_training_is_refused():
    made = pack(network())
    with pytest.raises(UsageError, match=r"cannot be trained.*pack it again"):
        made.train()
    assert not any(m.training for m in pack(XNORConv2d(3, 4, 3)).modules())


@pytest.mark.parametrize(("kind", "shape"), [(XNORConv2d, (1, 3, 4, 4)), (XNORLinear, (2, 3))])
def test_gradients_are_refused(kind, shape):
    layer = kind(3, 4, *[3] * (kind is XNORConv2d))
    x = torch.ones(shape, requires_grad=True)
    with pytest.raises(UsageError, match=r"no gradient.*torch\.no_grad"):
        pack(layer)(x)
    with torch.no_grad():
        assert torch.equal(pack(layer)(x), layer(x))


@pytest.mark.parametrize("kind", [XNORConv2d, BWNConv2d])
def test_float_weights_are_not_loaded_into_bits(kind):
    own = nn.Sequential(kind(3, 4, 3), nn.Flatten())
    with pytest.raises(CheckpointError, match=r"0\.weight: expected packed weights, torch.int64 \(4, 9, 1\)"):
        pack(own).load_state_dict(own.state_dict())


@pytest.mark.parametrize("kind", [XNORConv2d, BWNConv2d])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_numbers_than_float32_are_refused(kind, dtype):
    own = nn.Sequential(kind(3, 4, 3), nn.Flatten())
    with pytest.raises(UsageError, match=rf"float32.*{dtype}"):
        pack(copy.deepcopy(own).to(dtype))
    with pytest.raises(UsageError, match=rf"float32.*{dtype}"):
        pack(own).to(dtype)


def test_a_network_without_binary_layers_is_refused():
    with pytest.raises(UsageError, match="no binary layer"):
        pack(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(("kind", "shape"), [(XNORConv2d, (1, 70, 4, 4)), (XNORLinear, (2, 70))])
def test_values_that_are_not_finite_are_refused(kind, shape, bad):
    x = maps(*shape)
    x.view(-1)[-1] = bad
    with pytest.raises(DataError, match="infinite or no number"):
        pack(kind(70, 4, *[1] * (kind is XNORConv2d)))(x)


def test_inputs_of_another_shape_are_refused():
    with pytest.raises(ShapeError, match=r"\(N, 3, H, W\).*\(1, 4, 5, 5\)"):
        pack(XNORConv2d(3, 4, 3))(torch.ones(1, 4, 5, 5))
    with pytest.raises(ShapeError, match="5"):
        pack(XNORLinear(4, 2))(torch.ones(3, 5))
    with pytest.raises(ShapeError, match="5"):
        pack(BWNLinear(4, 2))(torch.ones(3, 5))


def test_a_layer_that_stands_in_two_places_is_packed_once():
    layer, inner = XNORConv2d(4, 4, 3, padding=1), nn.Sequential()
    inner.append(layer)
    own = filled(nn.Sequential(layer, nn.BatchNorm2d(4), layer, inner))
    made = packed_as_floats(own, maps(2, 4, 5, 5))
    assert len({id(m) for m in made.modules() if isinstance(m, PackedConv2d)}) == 1
    assert not any(isinstance(m, XNORConv2d) for m in made.modules())


def test_torch_compile_follows_a_packed_network_whole():
    made = pack(filled(network()))
    x = maps(2, 3, 6, 6)
    with torch.no_grad():
        compiled = torch.compile(made, fullgraph=True, backend="aot_eager")
        assert torch.equal(compiled(x), made(x))


@pytest.mark.filterwarnings("ignore:No complete tensor found")  # of torch, on weights that are channels last
def test_torch_export_holds_a_packed_network_for_any_batch(tmp_path):
    made = pack(filled(network()))
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(made, (maps(2, 3, 6, 6),), dynamic_shapes=(batch,))
    torch.export.save(program, tmp_path / "packed.pt2")
    again = torch.export.load(tmp_path / "packed.pt2").module()
    for n in (2, 5):
        x = maps(n, 3, 6, 6, seed=n)
        assert torch.equal(again(x), made(x))


def test_layers_describe_themselves():
    shown = str(pack(filled(network())))
    assert "PackedConv2d(64, 128, kernel=(3, 3), stride=(1, 1), folded=['cut', 'side', 'out_cut'" in shown
    assert PackedLinear.__name__ in shown


def test_in_floats_is_the_network_itself():
    """The oracle of these tests changes the memory format alone."""
    own = filled(network())
    with torch.no_grad():
        torch.testing.assert_close(in_floats(own)(maps(2, 3, 6, 6)), own(maps(2, 3, 6, 6)))
