"""Networks as OpenVINO models: binary convolutions to the last bit, networks of the zoo, files, messages."""

import json
import sys

import pytest
import torch
from packed_made import filled, maps
from run_made import call
from torch import nn

import concord
from concord import zoo
from concord.errors import UsageError
from concord.layers.binary.convolution import BWNConv2d, XNORConv2d
from concord.layers.binary.dense import XNORLinear
from concord.runs import export as exporting
from concord.runs.export_openvino import Files, openvino_model
from concord.runs.loading import load_run

openvino = pytest.importorskip("openvino")
pytestmark = pytest.mark.filterwarnings("ignore")  # of torch.export and openvino's own converter
F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def ask(model, x):
    return torch.from_numpy(openvino.Core().compile_model(model, "CPU", F32)(x.numpy())[0].copy())


def kinds(model):
    return [node.get_type_name() for node in model.get_ops()]


def around_zero(x):
    x.view(-1)[:6] = torch.tensor([0.0, -0.0, 1e-45, -1e-45, 1e-39, -1e-39])
    return x


@pytest.mark.parametrize(
    ("sizes", "options", "binary"),
    [
        ((64, 33, 3), {"padding": 1}, True),
        ((8, 5, (2, 3)), {"padding": (1, 2), "stride": (2, 1), "dilation": (1, 2), "bias": False}, True),
        ((72, 16, 5), {"padding": 3, "stride": 2}, True),
        ((64, 9, 2), {"padding": "same"}, True),
        ((20, 5, 3), {"padding": 1}, False),
        ((64, 8, 3), {"padding": 1, "padding_value": 1}, False),
        ((64, 8, 3), {"padding": 1, "groups": 4}, False),
        ((64, 8, 3), {"padding": 1, "scale_inputs": True}, True),
    ],
)
def test_a_binary_convolution_is_ours_at_the_borders_and_around_zero(sizes, options, binary):
    layer = filled(XNORConv2d(*sizes, **options))
    x = around_zero(maps(2, sizes[0], 7, 6))
    model = openvino_model(nn.Sequential(layer), x)
    assert ("BinaryConvolution" in kinds(model)) is binary
    with torch.no_grad():
        ours = layer(x)
    try:
        found = ask(model, x)
    except RuntimeError as error:
        if "unsupported parameters" not in str(error):
            raise
        pytest.skip("OpenVINO does not compute this convolution on this processor")
    torch.testing.assert_close(found, ours, rtol=1e-5, atol=1e-5)  # alpha and bias may be one step


def test_sums_of_signs_are_exact_in_a_file(tmp_path):
    layer = XNORConv2d(64, 16, 3, padding=1, bias=False)
    nn.init.trunc_normal_(layer.weight)
    with torch.no_grad():
        layer.weight.sign_()  # alpha is 1
        x = around_zero(maps(3, 64, 9, 5))
        wanted = layer(x)
    openvino.save_model(openvino_model(nn.Sequential(layer), x), tmp_path / "m.xml", compress_to_fp16=False)
    assert torch.equal(ask(openvino.Core().read_model(tmp_path / "m.xml"), x), wanted)


def test_dense_layers_and_layers_of_real_inputs_are_float_layers():
    own = filled(
        nn.Sequential(
            BWNConv2d(8, 8, 3), nn.Flatten(), nn.BatchNorm1d(32), XNORLinear(32, 5, scale_inputs=True)
        )
    )
    x = maps(2, 8, 4, 4)
    model = openvino_model(own, x)
    assert "BinaryConvolution" not in kinds(model)
    with torch.no_grad():
        torch.testing.assert_close(ask(model, x), own(x), rtol=1e-4, atol=1e-4)


def test_a_binary_network_of_the_zoo():
    own, x = zoo.find("xnor_resnet18").build().eval(), maps(1, 3, 32, 32)
    model = openvino_model(own, x)
    assert kinds(model).count("BinaryConvolution") == 16
    with torch.no_grad():
        torch.testing.assert_close(ask(model, x), own(x), rtol=1e-3, atol=1e-2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("openvino") / "run"
    members = [{"name": "xnor", "network": "xnor_lenet5"}]
    settings = {"members": members, "train": {"epochs": 1, "threads": 1}, "data": {"limit": 200, "size": 28}}
    concord.train(settings, path)
    return path


def test_an_openvino_file_gives_what_predict_says(run, tmp_path):
    written = concord.export(run, tmp_path / "net.xml")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.bin", "net.xml"]
    assert written.bytes == sum(p.stat().st_size for p in tmp_path.iterdir())
    assert (written.format, written.checked_batches) == ("openvino", (1, 3, 8))
    assert written.largest_difference <= 1e-3
    model = openvino.Core().read_model(tmp_path / "net.xml")
    assert json.loads(model.get_rt_info(["concord", "classes"]).astype(str)) == [str(k) for k in range(10)]
    pixels = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    model.reshape([5, 1, 28, 28])
    expected = load_run(run).probabilities(pixels)
    torch.testing.assert_close(ask(model, pixels), expected, rtol=0, atol=1e-3)


def test_a_file_that_differs_is_not_left_in_place(run, tmp_path, monkeypatch):
    def wrong(network, pixels, about):
        return Files(b"xml", b"weights", lambda x: network(x) + 0.01)

    monkeypatch.setattr(exporting, "openvino_files", wrong)
    with pytest.raises(UsageError, match="differs from `concord predict`"):
        concord.export(run, tmp_path / "net.xml", member="xnor")
    assert [*tmp_path.iterdir()] == []


def test_a_missing_package_is_named_before_anything_is_built(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    status, _, err = call(capsys, "export", run, "--member", "xnor", "--to", tmp_path / "net.xml")
    assert (status, [*tmp_path.iterdir()]) == (2, [])
    assert "an OpenVINO file needs openvino: pip install 'concord[openvino]'" in err
