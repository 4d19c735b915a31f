"""Eight bits: the file that ONNX Runtime makes, and when it is not shipped; the test with its intervals."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import concord
from concord.data.normalise import Normalise
from concord.runs.config_data import Data
from concord.runs.export_deployed import Deployed, pictures
from concord.runs.export_formats import ConversionError, onnx_file
from concord.shipping import confidence, tested
from concord.shipping.asked import Asked
from concord.shipping.ending import _against_int8
from concord.shipping.int8 import IMAGES, calibration, described, description, quantised
from concord.shipping.limits import Limits, Needs
from concord.shipping.shipped import Int8, Shipped
from concord.shipping.tested import Against, against
from concord.zoo.build import build

pytest.importorskip("onnxruntime", reason="needs the extra export")


@pytest.fixture(scope="module")
def splits():
    return concord.load_data("digits")


@pytest.fixture(scope="module")
def content(splits):
    """A network with random weights, as a file."""
    torch.manual_seed(0)
    network = build("noel2017_m(filters=12)", channels=1, classes=10)
    about = {"classes": '["0"]', "size": "[8, 8]"}
    return onnx_file(Deployed([network], Normalise.of(splits.train)), pictures((1, 8, 8)), about)[0]


@pytest.fixture(scope="module")
def eight(content, splits):
    return quantised(content, calibration(splits))


def asked(content, pixels):
    import onnxruntime

    return onnxruntime.InferenceSession(content).run(None, {"pixels": pixels})[0]


def test_calibration_is_of_training_images_spread_over_the_part(splits):
    found = calibration(splits)
    assert found.shape == (IMAGES, 1, 8, 8)
    assert torch.equal(found[0], splits.train.pixels[0])
    assert torch.equal(found[-1], splits.train.pixels[-1])


def test_eight_bits_are_smaller_and_nearly_the_same_probabilities(content, eight, splits):
    pixels = splits.test.pixels.numpy()
    whole, small = asked(content, pixels), asked(eight, pixels)
    assert 0 < np.abs(whole - small).mean() < 0.02
    assert (whole.argmax(1) == small.argmax(1)).mean() > 0.9
    assert len(eight) < 0.6 * len(content)


def test_weights_are_whole_numbers_of_8_bits_with_a_scale_for_each_channel(eight):
    import onnx

    model = onnx.load_from_string(eight)
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    weights = [
        t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4
    ]
    assert len(weights) > 10
    scales = {t.name: t.dims for t in model.graph.initializer if t.name.endswith("_scale")}
    assert any(list(dims) == [12] for dims in scales.values())


def test_the_description_is_kept(content, eight):
    import onnx

    about = description(content)
    assert about
    whole = described(eight, about)
    assert description(whole) == about
    assert description(described(whole, {"a": "b"})) == {"a": "b"}
    before, after = (onnx.load_from_string(each).doc_string for each in (content, whole))
    assert after == before


def test_the_threshold_of_a_file_by_hand(monkeypatch):
    """T = 2: (.8, .2) was (.64, .04) / .68, so 1 - p is .0588; of three, coverage .5 takes the second."""
    q = np.array([[0.5, 0.5], [0.8, 0.2], [0.4, 0.6]])
    monkeypatch.setattr(confidence, "probabilities", lambda content, images: q)
    valid = SimpleNamespace(labels=torch.tensor([0, 0, 1]))
    about = {"temperature": "2.0", "set_coverage": "0.5", "set_threshold": "0.9", "classes": "[]"}
    found = confidence.set_metadata(b"", about, valid)
    assert json.loads(found["set_threshold"]) == pytest.approx(1 - 0.36 / 0.52)
    assert {**found, "set_threshold": "0.9"} == about
    assert confidence.set_metadata(b"", {"temperature": "1.0"}, valid) == {"temperature": "1.0"}


def test_a_file_that_is_none_is_a_conversion_error(splits):
    with pytest.raises(ConversionError):
        quantised(b"no network", calibration(splits))


@pytest.mark.parametrize(
    ("loss", "size", "took", "limits", "said"),
    [
        (Against("float", 0.05, 0.01, 0.09, 0.001), 10, 1.0, Limits(), "8 bits lose 5.00 points"),
        (Against("float", 0.05, -0.01, 0.11, 0.2), 10, 1.0, Limits(), ""),
        (Against("float", 0.0, -0.01, 0.01, 1.0), 20, 1.0, Limits(), "has 20 bytes, no fewer than"),
        (Against("float", 0.0, -0.01, 0.01, 1.0), 10, 3.0, Limits(milliseconds=2), "takes 3 ms here, over"),
    ],
)
def test_when_eight_bits_are_not_shipped(loss, size, took, limits, said):
    reason = _against_int8(loss, size, took, 20, limits)
    assert reason.count(said) == 1 if said else reason == ""


def test_a_difference_by_hand():
    """Of 100 images 9 are wrong by the first alone, 2 by the second alone: d = 7 / 102 +- z s.

    s = sqrt(9 + 2 + 1 - 7^2 / 102) / 102; p is twice the chance of 2 or fewer heads in 11 throws.
    """
    one, other = np.zeros(100, bool), np.zeros(100, bool)
    one[:9], other[9:11] = True, True
    one[50:53] = other[50:53] = True
    found = against(tested.Tested("one", "", one), tested.Tested("other", "", other))
    half = 1.959963984540054 * math.sqrt(12 - 49 / 102) / 102
    assert found.difference == pytest.approx(0.07)
    assert (found.low, found.high) == pytest.approx((7 / 102 - half, 7 / 102 + half))
    assert found.p == pytest.approx(2 * (1 + 11 + 55) / 2**11)
    assert found.proven
    back = against(tested.Tested("other", "", other), tested.Tested("one", "", one))
    assert (back.difference, back.low, back.high) == pytest.approx(
        (-found.difference, -found.high, -found.low)
    )


def test_the_error_of_a_file_is_counted_on_every_image(content, splits):
    found = tested.of_file(content, "x", "", splits.test)
    named = asked(content, splits.test.pixels.numpy()).argmax(1)
    assert found.wrong.tolist() == (named != splits.test.labels.numpy()).tolist()


def test_a_tested_classifier_goes_through_plain_data():
    one = tested.Tested("a", "b", np.array([False, True, True, False]))
    assert one.kept() == {"name": "a", "about": "b", "wrong": [1, 2]}
    again = tested.Tested.of(one.kept(), 4)
    assert (again.name, again.about, again.wrong.tolist()) == ("a", "b", one.wrong.tolist())


def test_the_best_rival_has_the_smallest_error_and_of_equal_ones_is_the_first():
    a, b, c = (
        tested.Tested(name, "", np.array(wrong))
        for name, wrong in (("a", [1, 1]), ("b", [1, 0]), ("c", [0, 1]))
    )
    assert tested.best([a, b, c]) is b


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (2, 12, "it is better than the best of its rivals, the same network (12.00 %), by 10.00 points"),
        (12, 2, "it is worse than the best of its rivals, the same network (2.00 %), by 10.00 points"),
        (5, 6, "is not proven: -1.00 points (95 % interval "),
    ],
)
def test_the_sentence_says_what_is_proven(ours, theirs, said):
    one, other = np.zeros(100, bool), np.zeros(100, bool)
    one[:ours], other[50 : 50 + theirs] = True, True
    found = Shipped(
        folder="",
        asked=Asked(Data(), Limits(), 1.0),
        network="net",
        way="once",
        about="taught once",
        epochs=1,
        needs=Needs(1_234, 5, 6),
        tested=tested.Tested("shipped", "", one),
        rivals=(tested.Tested("plain", "the same network", other),),
        int8=Int8(False, ""),
        confidence=None,
        plan=None,
        decisions=(),
        seconds=1.0,
        files=(),
        notices=(),
    )
    assert found.sentence().startswith(
        f"net with 1,234 parameters, taught once, has a test error of {ours}.00 %"
    )
    assert said in found.sentence()
    assert found.verdict == {2: "better", 12: "worse", 5: "open"}[ours]
