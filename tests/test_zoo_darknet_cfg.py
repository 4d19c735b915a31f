"""Networks from files of darknet: beside the zoo's own, beside loops, and what is refused."""

from contextlib import suppress
from weakref import ref

import numpy as np
import pytest
import torch
from darknet_made import (
    chain,
    conv,
    darknet19,
    head,
    made,
    net,
    pool,
    released_v1,
    section,
    tiny_v1,
    tiny_v3,
    unlike,
    v2,
    v3,
    yolo,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import concord
from concord import zoo
from concord.cost.count import count
from concord.errors import ConcordError, DataError, MissingDataError, ShapeError, UsageError
from concord.zoo.darknet.network import described, read_network
from concord.zoo.darknet.weights import stored
from concord.zoo.yolo_v1 import yolo_v1_tiny
from concord.zoo.yolo_v2 import darknet19 as zoo_darknet19
from concord.zoo.yolo_v2 import yolo_v2
from concord.zoo.yolo_v3 import yolo_v3, yolo_v3_tiny


def on_meta(tmp_path, text):
    with torch.device("meta"):
        return made(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "side", "parameters", "buffers", "convolutions", "operations"),
    [
        (released_v1(), 448, 197_301_875, 26_368, 24, 40.147),
        (tiny_v1(), 448, 27_095_374, 4_576, 8, 3.179),
        (darknet19(), 224, 20_842_376, 14_400, 19, 5.582),
        (v2(), 608, 50_962_889, 20_672, 23, 62.938),
        (v3(), 416, 61_949_149, 52_608, 75, 65.864),
        (v3(spp=True), 608, 62_998_749, 53_632, 76, 141.449),
        (tiny_v3(), 416, 8_852_366, 6_368, 13, 5.565),
    ],
    ids=["yolov1", "yolov1-tiny", "darknet19", "yolov2", "yolov3", "yolov3-spp", "yolov3-tiny"],
)
def test_counts_are_those_of_the_published_files(
    tmp_path, text, side, parameters, buffers, convolutions, operations
):
    network = on_meta(tmp_path, text)
    modules = [*network.modules()]
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert sum(2 * m.num_features for m in modules if isinstance(m, nn.BatchNorm2d)) == buffers
    assert sum(isinstance(m, nn.Conv2d) for m in modules) == convolutions
    layers = count(network, (3, side, side)).layers
    assert round(sum(2 * layer.macs for layer in layers if layer.type == "Conv2d") / 1e9, 3) == operations


@pytest.mark.parametrize(
    ("text", "build", "side"),
    [
        (tiny_v1(), yolo_v1_tiny, 448),
        (darknet19(), zoo_darknet19, 64),
        (v2(), yolo_v2, 64),
        (v3(), yolo_v3, 64),
        (tiny_v3(), yolo_v3_tiny, 96),
    ],
    ids=["yolov1-tiny", "darknet19", "yolov2", "yolov3", "yolov3-tiny"],
)
@torch.no_grad()
def test_the_zoo_has_the_networks_of_the_files(tmp_path, text, build, side):
    """With the same numbers in the order of a file of weights, the outputs are equal."""
    network, ours = unlike(made(tmp_path, text)), build().eval()
    for given_place, own in zip(stored(network), stored(ours), strict=True):
        assert own.tensor.shape == given_place.tensor.shape
        own.tensor.copy_(given_place.tensor)
    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    expected, output = network(x), ours(x)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5 * largest(expected))
    if build is not zoo_darknet19:
        keys = ("version", "strides", "cells", "boxes", "classes", "channels")
        assert [getattr(ours, key) for key in keys] == [getattr(network, key) for key in keys]
        assert network.anchors == ours.anchors


def largest(output):
    return max(x.abs().max().item() for x in (output if isinstance(output, tuple) else (output,)))


# --- layers -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("linear", lambda x: x),
        ("leaky", lambda x: np.where(x > 0, x, 0.1 * x)),
        ("logistic", lambda x: 1 / (1 + np.exp(-x))),
        ("relu", lambda x: np.maximum(x, 0)),
        ("mish", lambda x: x * np.tanh(np.log(1 + np.exp(x)))),
        ("swish", lambda x: x / (1 + np.exp(-x))),
    ],
)
@torch.no_grad()
def test_activations_are_their_formulas(tmp_path, name, formula):
    network = made(tmp_path, net(1, 3, 1) + conv(1, 1, norm=0, activation=name))
    network.graph.layers[0][0].weight.fill_(1)
    x = torch.tensor([[[[-1.5, 0.25, 3.0]]]], dtype=torch.float32)
    np.testing.assert_allclose(network(x).numpy(), formula(x.numpy()), rtol=1e-5)


@torch.no_grad()
def test_a_local_layer_has_a_kernel_for_every_place(tmp_path):
    text = net(4, 5, 2) + section("local", filters=3, size=3, stride=2, pad=1, activation="linear")
    network = unlike(made(tmp_path, text))
    x = torch.randn(2, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    weight, bias = (place.tensor for place in reversed([*stored(network)]))
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    made_by_hand = torch.empty(2, 3, 2, 3)
    for i, j in np.ndindex(2, 3):
        window = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].flatten(1)
        made_by_hand[:, :, i, j] = window @ weight[3 * i + j].T + bias[:, 3 * i + j]
    torch.testing.assert_close(network(x), made_by_hand)


@torch.no_grad()
def test_routes_put_maps_together_and_take_one_group(tmp_path):
    text = (
        net(1, 1, 4)
        + conv(2, 1, norm=0, activation="linear")
        + section("route", layers="0", groups=2, group_id=1)
    )
    network = made(tmp_path, text + section("route", layers="-1,0"))
    network.graph.layers[0][0].weight.copy_(torch.eye(4)[:2].reshape(2, 4, 1, 1))
    assert network(torch.tensor([5.0, 7, 1, 1]).reshape(1, 4, 1, 1)).tolist() == [[7, 5, 7]]


@torch.no_grad()
def test_shortcuts_add_every_layer_named_and_then_bend(tmp_path):
    text = net(1, 1, 1) + conv(1, 1, norm=0, activation="linear") * 3
    network = made(tmp_path, text + section("shortcut", from_="-2,-3", activation="leaky"))
    for layer, factor in zip(network.graph.layers, (2, 3, -5), strict=False):
        layer[0].weight.fill_(factor)
    # 2, 6 and -30 of 1; their sum is below zero
    assert network(torch.ones(1, 1, 1, 1)).item() == pytest.approx(-2.2)


@torch.no_grad()
def test_a_dense_layer_may_be_normalised(tmp_path):
    text = net(1, 2, 1) + section("connected", output=1, activation="relu", batch_normalize=1)
    network = made(tmp_path, text)
    bias, weight, scale, mean, variance = (place.tensor for place in stored(network))
    for tensor, value in ((bias, 0.5), (scale, 3), (mean, 1), (variance, 4 - 1e-5)):
        tensor.fill_(value)
    weight.copy_(torch.tensor([[2.0, -1.0]]))
    # (2·4 - 1 - 1) / 2 · 3 + 0.5
    assert network(torch.tensor([[[[4.0, 1.0]]]])).item() == pytest.approx(9.5)


def test_strides_dilation_groups_and_padding_give_torchs_sizes(tmp_path):
    options = [{"stride_x": 3, "stride_y": 2}, {"dilation": 2}, {"groups": 2}]
    for option in options:
        network = made(tmp_path, net(11, 14, 4) + conv(4, **option) + conv(2, 3))
        with torch.no_grad():
            first = network.graph.layers[0](torch.zeros(1, 4, 11, 14))
        assert first.shape[2:] == ((6, 5) if "stride_x" in option else (11, 14))
    pad = section("convolutional", filters=1, size=4, padding=2, activation="linear")
    assert made(tmp_path, net(5, 5, 1) + pad)(torch.zeros(1, 1, 5, 5)).shape == (1, 1, 6, 6)
    single = section("convolutional", filters=1, size=1, padding=1, dilation=3, activation="linear")
    assert made(tmp_path, net(5, 5, 1) + single)(torch.zeros(1, 1, 5, 5)).shape == (1, 1, 7, 7)


def test_maps_are_held_only_while_a_layer_needs_them(tmp_path):
    network = made(tmp_path, tiny_v3(classes=1))
    references, alive = [], []

    def count_alive(module, given, output):
        references.append(ref(output))
        alive.append(sum(r() is not None for r in references))

    for layer in network.graph.layers:
        layer.register_forward_hook(count_alive)
    with torch.no_grad():
        assert [y.shape[1] for y in network(torch.zeros(1, 3, 64, 64))] == [18, 18]
    assert len(alive) == 24
    assert max(alive) <= 6  # of 24: input, output, fine map, routed map, the first head and its section


def test_coarse_maps_come_first_whatever_the_order_in_the_file(tmp_path):
    text = net(32, 32) + chain(4, 4) + head(6) + yolo("0", "1,2, 30,40", 1) + section("route", layers=-2)
    text += pool() + head(6) + yolo("1", "1,2, 30,40", 1)
    network = made(tmp_path, text)
    assert network.strides == (8, 4)
    assert network.anchors == (((30, 40),), ((1, 2),))
    assert [y.shape[2] for y in network(torch.zeros(1, 3, 32, 32))] == [4, 8]


# --- by name ------------------------------------------------------------------


def test_a_file_is_a_name_of_a_network(tmp_path):
    path = tmp_path / "tiny.cfg"
    path.write_text(tiny_v3(classes=4))
    network = zoo.build(str(path), channels=3, classes=4)
    assert (network.version, network.classes) == (3, 4)
    with pytest.raises(UsageError, match="for 3 channels and 4 classes, not for 1 and 4; set channels= in"):
        zoo.build(str(path), channels=1, classes=4)
    with pytest.raises(UsageError, match="no pretrained weights"):
        zoo.build(str(path), channels=3, classes=4, pretrained=True)


def test_the_cost_of_a_file_is_that_of_its_own_pictures(tmp_path):
    path = tmp_path / "tiny.cfg"
    path.write_text(tiny_v3(side=416))
    priced = concord.cost_of(str(path))
    assert (priced.parameters, priced.to_dict()["input"]) == (8_852_366, [3, 416, 416])
    path.write_text(tiny_v3(side=416, classes=1))  # which changes, so that its cost is not kept
    assert concord.cost_of(str(path)).parameters == 8_852_366 - 79 * 3 * (513 + 257)
    assert concord.explain(str(path)).source == "as darknet has it"


def test_a_file_says_what_it_is_for(tmp_path):
    path = tmp_path / "net.cfg"
    path.write_text(darknet19(side=96))
    assert described(path) == ((3, 96, 96), 1000)


# --- refused ------------------------------------------------------------------

TINY = net(32, 32) + chain(4, 4) + head(6) + yolo("0", "1,2", 1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[yolo]",
            "[yolov]",
            r":33: unknown section '\[yolov\]' \(did you mean 'yolo'\?\); known sections are net,",
        ),
        (
            "filters=4",
            "filtres=4",
            r":9: \[convolutional\] filtres=4: unknown key \(did you mean 'filters'\?\); keys",
        ),
        ("filters=4", "filters=four", r":9: \[convolutional\] filters=four: expected numbers"),
        ("filters=4", "filters=0", r"filters=0: expected a whole number of at least 1"),
        ("filters=4", "filters=4.5", r"filters=4.5: expected a whole number of at least 1"),
        (
            "filters=6",
            "filters=7",
            r":33: \[yolo\]: the layer before gives 7 maps, expected 1 \(5 \+ 1\) = 6; set",
        ),
        (
            "activation=leaky",
            "activation=laeky",
            r"unknown activation 'laeky' \(did you mean 'leaky'\?\); known are",
        ),
        ("filters=4", "filters=4\nxnor=1", r":10: \[convolutional\] xnor=1: not supported; only xnor=0 is"),
        ("filters=4", "filters=4\nfilters=5", r":10: filters has another value in line 9; keep one"),
        ("filters=4", "filters", r":9: expected \[section\] or key=value, got 'filters'"),
        ("classes=1", "classes=1\nscale_x_y=1.2", r"scale_x_y=1.2: not supported; only scale_x_y=1 is"),
        ("mask=0", "mask=1", r"mask=1: expected numbers of anchors from 0 to 0"),
        ("anchors=1,2", "anchors=1,2,3", r"num=1: expected|anchors=1,2,3: expected 1 pairs"),
        ("anchors=1,2", "anchors=1,-2", r"anchors=1,-2: expected 1 pairs of positive numbers"),
        ("anchors=1,2\n", "", r":33: \[yolo\]: anchors is missing"),
        ("height=32", "height=32.5", r"height=32.5: expected a whole number"),
        ("height=32\n", "", r":1: \[net\]: height is missing"),
        ("height=32", "height=34", r"pictures of 34x32 end in maps of 9x8: expected height and width"),
        ("[net]", "[maxpool]", "starts with the section"),
        ("[yolo]", "[net]\n[yolo]", "this section stands at the end of a file"),
        ("[yolo]", "[softmax]\n[yolo]", "this section stands at the end of a file"),
        ("[yolo]", "[route]\nlayers=9\n[yolo]", r"layers=9: expected layers from 0 to 4, which stand before"),
        ("[yolo]", "[route]\nlayers=-6\n[yolo]", r"layers=-6: expected layers from 0 to 4"),
        ("[yolo]", "[route]\nlayers=-1,0\n[yolo]", r"maps of 8x8 and 32x32 cannot be put together"),
        ("[yolo]", "[route]\nlayers=-1\ngroups=2\ngroup_id=2\n[yolo]", r"6 maps have no group 2 of 2"),
        ("[yolo]", "[shortcut]\nfrom=-2\n[yolo]", r"maps of 6x8x8 and 4x8x8 cannot be added"),
        ("[yolo]", "[reorg]\nstride=2\n[yolo]", r"6 maps of 8x8 cannot be divided by the stride"),
        ("[yolo]", "[dropout]\nprobability=1\n[yolo]", "expected a share from 0 to below 1"),
        ("[yolo]", "[maxpool]\nsize=9\nstride=1\npadding=0\n[yolo]", "leaves nothing of 6x8x8: use larger"),
    ],
)
def test_what_changes_the_result_is_refused_with_its_line(tmp_path, old, new, message):
    path = tmp_path / "net.cfg"
    path.write_text(TINY.replace(old, new, 1))
    with pytest.raises(DataError, match=message) as refused:
        read_network(path)
    assert str(refused.value).startswith(str(path))
    assert refused.value.exit_status == 3


def test_training_keys_and_neutral_values_are_left_alone(tmp_path):
    text = TINY.replace("batch=64", "batch=64\nbatch=1\nlearning_rate=.1\npolicy=steps")
    text = text.replace("classes=1", "classes=1\n; a comment\n scale_x_y = 1.0 \n\nignore_thresh=.7")
    assert made(tmp_path, text).strides == (4,)


def test_files_that_are_missing_or_no_text_are_refused(tmp_path):
    with pytest.raises(MissingDataError, match=r"nowhere\.cfg: no such file of a network"):
        read_network(tmp_path / "nowhere.cfg")
    path = tmp_path / "net.cfg"
    for content, message in (
        (b"", "starts with"),
        (b"\x80\x81=\n", "expected"),
        (b"\n" * 2_000_000, "at most 1,000,000 bytes"),
        (net(2, 2).encode(), "no layers"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_network(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_network(tmp_path)


def test_layers_for_one_size_take_no_other(tmp_path):
    network = on_meta(tmp_path, tiny_v1())
    with pytest.raises(ShapeError, match="must be 448x448, as the file says, got 448x480"):
        network(torch.empty(1, 3, 448, 480, device="meta"))


def test_two_heads_of_different_kinds_are_refused(tmp_path):
    text = TINY + head(7) + yolo("0", "1,2", 2)
    with pytest.raises(DataError, match=r"that agree in classes= and in the length of mask="):
        made(tmp_path, text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_give_an_error_of_concord_or_a_network(tmp_path, data):
    lines = TINY.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        piece = st.sampled_from([*lines, "[route]", "layers=-1", "size=0", "stride=999999999", "pad=9", "="])
        lines[at] = data.draw(piece | st.text(max_size=8))
    path = tmp_path / "net.cfg"
    path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    with torch.device("meta"), suppress(ConcordError):
        read_network(path)
