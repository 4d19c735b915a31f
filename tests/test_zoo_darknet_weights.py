"""Files of weights of darknet: the order of the numbers, headers, and what is refused."""

import struct

import numpy as np
import pytest
import torch
from darknet_made import conv, made, net, section, tiny_v3, unlike
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from concord import zoo
from concord.errors import DataError, MissingDataError, UsageError
from concord.zoo.darknet.weights import Header, load_darknet, stored, written
from concord.zoo.weights import load_weights
from concord.zoo.yolo_v3 import yolo_v3_tiny

SMALL = net(4, 4, 1) + conv(2, 1) + conv(1, 1, norm=0) + section("connected", output=2, activation="linear")
NORMED = net(1, 2, 1) + section("connected", output=1, activation="linear", batch_normalize=1)


def file_of(numbers, *header, seen="<Q"):
    """Version 0.2.0 with 8 bytes of pictures, or what is given."""
    version, pictures = (header or (0, 2, 0, 7))[:3], (header or (0, 2, 0, 7))[3]
    return struct.pack("<3i", *version) + struct.pack(seen, pictures) + np.array(numbers, "<f4").tobytes()


def loaded(tmp_path, text, data):
    network, path = made(tmp_path, text), tmp_path / "net.weights"
    path.write_bytes(data)
    return network, load_darknet(network, path)


def test_numbers_stand_in_darknets_order(tmp_path):
    """A normalised convolution of 2 filters, one with a bias, a dense layer of 16 inputs and 2 outputs."""
    network, header = loaded(tmp_path, SMALL, file_of(range(1, 48)))
    first, second, dense = network.graph.layers
    norm = first[1]
    assert norm.bias.tolist() == [1, 2]
    assert norm.weight.tolist() == [3, 4]
    assert norm.running_mean.tolist() == [5, 6]
    assert norm.running_var.tolist() == [7, 8]
    assert first[0].weight.flatten().tolist() == [9, 10]
    assert second[0].bias.tolist() == [11]
    assert second[0].weight.flatten().tolist() == [12, 13]
    assert dense[1].bias.tolist() == [14, 15]
    assert dense[1].weight.tolist() == [[*range(16, 32)], [*range(32, 48)]]
    assert header == Header(0, 2, 0, 7)


def test_a_normalised_dense_layer_has_its_weights_before_its_norm(tmp_path):
    network, _ = loaded(tmp_path, NORMED, file_of([1, 2, 3, 4, 5, 6]))
    _, dense, norm, *_ = network.graph.layers[0]
    assert (norm.bias.item(), dense.weight.tolist(), norm.weight.item()) == (1, [[2, 3]], 4)
    assert (norm.running_mean.item(), norm.running_var.item()) == (5, 6)


@pytest.mark.parametrize(
    ("header", "seen", "size", "transposed"),
    [
        ((0, 1, 0, 32_013_312), "<I", 16, False),  # yolov2.weights
        ((0, 2, 0, 32_013_312), "<Q", 20, False),  # yolov3.weights
        ((0, 2, 5, 2**40), "<Q", 20, False),
        ((1, 0, 0, 9), "<Q", 20, False),
        ((1001, 0, 0, 9), "<I", 16, True),
        ((0, 1001, 0, 9), "<I", 16, True),
    ],
)
def test_headers_of_every_version_come_back_bit_for_bit(tmp_path, header, seen, size, transposed):
    data = file_of(range(1, 48), *header, seen=seen)
    assert len(data) == size + 47 * 4
    network, read = loaded(tmp_path, SMALL, data)
    assert (read.seen, read.is_transposed) == (header[3], transposed)
    assert written(network, read) == data
    weight = network.graph.layers[2][1].weight.tolist()
    if transposed:  # as 16 rows of 2
        assert weight == [[*range(16, 48, 2)], [*range(17, 48, 2)]]
    else:
        assert weight == [[*range(16, 32)], [*range(32, 48)]]


@torch.no_grad()
def test_one_file_gives_the_zoos_network_and_that_of_the_cfg_equal_outputs(tmp_path):
    text = tiny_v3()
    data = written(unlike(made(tmp_path, text)), Header(seen=32_013_312))
    assert len(data) == 35_434_956  # bytes of the published yolov3-tiny.weights
    path = tmp_path / "tiny.weights"
    path.write_bytes(data)
    torch.manual_seed(5)
    networks = [made(tmp_path, text), yolo_v3_tiny().eval()]
    for network in networks:
        load_weights(network, path)
    x = torch.randn(1, 3, 64, 96)
    for theirs, ours in zip(*(network(x) for network in networks), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert written(networks[1], Header(seen=32_013_312)) == data


def test_every_number_of_a_network_has_one_place():
    with torch.device("meta"):
        for name, classes in (("yolo_v1", 20), ("yolo_v2", 80), ("yolo_v3", 80), ("darknet19", 1000)):
            network = zoo.build(name, channels=3, classes=classes)
            numbers = sum(t.numel() for k, t in network.state_dict().items() if not k.endswith("tracked"))
            assert sum(place.tensor.numel() for place in stored(network)) == numbers


# --- refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            file_of(range(46)),
            r"is truncated, .* expected 47 numbers of 4 bytes after the header of 20, found 46 n",
        ),
        (
            file_of(range(48)),
            r"is too long, .* expected 47 numbers of 4 bytes after the header of 20, found 48 n",
        ),
        (file_of(range(47)) + b"xy", r"is too long, .* found 47 numbers and 2 bytes"),
        (file_of(range(46)) + b"x", r"is truncated, .* found 46 numbers and 1 byte$"),
        (file_of([]), "is truncated, .* found 0 numbers"),
        (file_of([])[:19], "expected a header of 20 bytes, found 19"),
        (b"abc", "expected a header of 16 or 20 bytes, found 3"),
        (b"", "expected a header of 16 or 20 bytes, found 0"),
        (
            file_of([*range(1, 20), np.nan, *range(27)]),
            r"numbers for graph\.layers\.2\.1\.weight are not finite",
        ),
        (file_of([*range(1, 8), -1, *range(39)]), r"running_var are not finite, or variances below zero"),
    ],
)
def test_wrong_files_are_refused_and_leave_the_network_alone(tmp_path, data, message):
    network, path = made(tmp_path, SMALL), tmp_path / "net.weights"
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as refused:
        load_weights(network, path)
    assert refused.value.exit_status == 3
    assert str(refused.value).startswith(str(path))
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def test_files_that_are_missing_are_named(tmp_path):
    network = made(tmp_path, SMALL)
    with pytest.raises(MissingDataError, match=r"nowhere\.weights: no such file of weights"):
        load_darknet(network, tmp_path / "nowhere.weights")
    with pytest.raises(DataError, match="cannot be read"):
        load_darknet(network, tmp_path)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)), "no place for 1.weight of Sequential"),
        (
            nn.Sequential(nn.Conv2d(1, 1, 1, bias=False)),
            "no place for 0, which has neither biases nor a norm",
        ),
        (nn.GRU(2, 3), "no place for weight_ih_l0 of GRU"),
    ],
)
def test_layers_that_darknet_does_not_have_are_refused(network, message):
    with pytest.raises(UsageError, match=message):
        written(network)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    numbers=st.lists(st.floats(0, 2.0**100, width=32), min_size=47, max_size=47),
    version=st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 3),
    seen=st.integers(0, 2**32 - 1),
)
def test_what_was_read_is_written_bit_for_bit(tmp_path, numbers, version, seen):
    header = Header(*version, seen)
    network, path = made(tmp_path, SMALL), tmp_path / "net.weights"
    path.write_bytes(header.to_bytes() + np.array(numbers, "<f4").tobytes())
    assert load_darknet(network, path) == header
    assert written(network, header) == path.read_bytes()
