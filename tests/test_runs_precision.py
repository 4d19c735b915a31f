import pytest
import torch
from torch import nn

from concord.runs import toml
from concord.runs.precision import idle_taps, precisions, untrusted


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation"),
    [(1, 3, 1, 1, 1), (1, 3, 2, 1, 1), (2, 3, 1, 1, 1), (2, 3, 2, 1, 1), (3, 5, 1, 2, 1), (4, 3, 1, 2, 2)],
)
def test_idle_taps_are_those_whose_gradient_is_always_zero(size, kernel, stride, padding, dilation):
    weight = torch.randn(1, 1, kernel, 1, requires_grad=True)
    x = torch.rand(1, 1, size, 1) + 1
    y = nn.functional.conv2d(x, weight, stride=(stride, 1), padding=(padding, 0), dilation=(dilation, 1))
    y.sum().backward()
    expected = bool((weight.grad == 0).any())
    assert idle_taps(size, kernel, stride, padding, dilation) == expected


def network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def test_the_first_convolution_with_idle_taps_is_named():
    assert untrusted(network(), (1, 8, 8)) is None
    assert untrusted(network(), (1, 4, 4)) == "1"


def test_groups_with_dilation_are_not_trusted_but_each_alone_is():
    def one(**options):
        return untrusted(nn.Sequential(nn.Conv2d(8, 8, 3, padding="same", **options)), (8, 32, 32))

    assert one(groups=4, dilation=2) == "0"
    assert one(groups=4) is one(dilation=2) is None


def test_only_the_member_that_bfloat16_breaks_falls_back_to_float32():
    settings = {
        "members": [{"name": "a", "network": "x"}],
        "train": {"precision": "bfloat16", "device": "cpu"},
    }
    config = toml.parse(settings)
    members = {"broken": network(), "sound": nn.Sequential(nn.Conv2d(1, 2, 3, 1, 1), nn.Flatten())}
    assert precisions(config, members, (1, 4, 4)) == {"broken": torch.float32, "sound": torch.bfloat16}
    assert set(precisions(config, members, (1, 8, 8)).values()) == {torch.bfloat16}


def test_a_member_computes_alike_whoever_trains_beside_it(tmp_path):
    from safetensors.torch import load_file

    import concord

    train = {"epochs": 1, "batch_size": 512, "threads": 1, "precision": "bfloat16", "device": "cpu"}
    own, broken = {"name": "ST", "network": "noel2017_st"}, {"name": "R", "network": "resnet18"}
    concord.train({"members": [own], "train": train}, tmp_path / "alone")
    concord.train({"members": [own, broken], "train": train}, tmp_path / "pair")
    paths = [max((tmp_path / n).glob("ckpt/step-*")) / "member-ST.safetensors" for n in ("alone", "pair")]
    one, two = map(load_file, paths)
    assert all(torch.equal(one[k], two[k]) for k in one)
