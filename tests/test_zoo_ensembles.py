"""Ensembles in one network, beside the networks that they stand for."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import concord
from concord.cost.count import count
from concord.errors import UsageError
from concord.zoo.build import build
from concord.zoo.ensembles.batch import batch_ensemble
from concord.zoo.ensembles.names import DEFAULTS, Named, inside, named
from concord.zoo.ensembles.packed import narrowed, packed_ensemble, side_by_side
from concord.zoo.limits import Limit, TooLargeError, bounded

NETWORKS = ("noel2017_st", "densenet40_12(depth=10)", "preact_resnet20", "torchvision/shufflenet_v2_x0_5")
PICTURES = {"torchvision/shufflenet_v2_x0_5": 64}


def network(name="noel2017_st", seed=0):
    torch.manual_seed(seed)
    return build(name, channels=3, classes=5)


def pictures(name="noel2017_st", samples=4):
    side = PICTURES.get(name, 32)
    return torch.randn(samples, 3, side, side)


def moved(module):
    """The same with running statistics that differ from member to member."""
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    return module


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_side_by_side_are_these_networks(name):
    apart = [moved(network(name, seed)) for seed in range(3)]
    one, x = side_by_side(apart), pictures(name)
    one.eval()
    alone = [member.eval()(x) for member in apart]
    close(one(x), torch.stack(alone).mean(0))
    one.train()
    for module in (one, *apart):  # every member would drop other channels than its network
        for layer in module.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
    close(one(x), torch.stack([member.train()(x) for member in apart]))
    one.eval()  # the running statistics have moved like those of the networks
    close(one(x), torch.stack([member.eval()(x) for member in apart]).mean(0))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_packed_ensemble_is_narrow_networks_side_by_side(name):
    wide, x = network(name), pictures(name)
    torch.manual_seed(1)
    one = packed_ensemble(wide, tuple(x.shape[1:]), members=2, alpha=1.0)
    torch.manual_seed(1)
    apart = [narrowed(wide, tuple(x.shape[1:]), 0.5) for _ in range(2)]
    close(one.eval()(x), torch.stack([member.eval()(x) for member in apart]).mean(0))
    assert not torch.equal(*(next(member.parameters()) for member in apart))


def test_alpha_and_gamma_give_the_widths_and_groups_of_the_paper():
    body = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.Conv2d(8, 8, 3, padding=1, bias=False),
        nn.Flatten(),
        nn.Linear(8 * 16, 5),
    )
    one = packed_ensemble(body, (3, 4, 4), members=2, alpha=4, gamma=2)
    first, middle, last = (one.network[i] for i in (0, 1, 3))
    # 4 / 2 times 8 channels for each of 2 members: 32 in all, in 2 groups on the pictures and in 2 x 2 later
    assert (first.layer.in_channels, first.layer.out_channels, first.layer.groups) == (6, 32, 2)
    assert (middle.layer.in_channels, middle.layer.out_channels, middle.layer.groups) == (32, 32, 4)
    assert tuple(last.weight.shape) == (2 * 5, 16 * 16)
    cost = count(one, (3, 4, 4))
    assert cost.parameters == 32 * 3 * 9 + 32 * 8 * 9 + 2 * (256 * 5 + 5)
    assert cost.macs == 16 * (32 * 3 * 9 + 32 * 8 * 9) + 2 * 256 * 5


def test_a_width_that_gamma_does_not_divide_has_the_most_groups_below_it():
    body = nn.Sequential(nn.Conv1d(2, 6, 1), nn.Conv1d(6, 6, 1), nn.Conv1d(6, 3, 1), nn.Flatten(1))
    narrow = narrowed(body, (2, 1), 0.5, gamma=2)
    assert [(m.out_channels, m.groups) for m in narrow[:3]] == [(4, 1), (4, 2), (3, 1)]  # 3 rounded up to 4


def test_channels_that_are_convolved_by_themselves_stay_so():
    body = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 16, 3, groups=8), nn.Flatten(), nn.Linear(64, 2))
    narrow = narrowed(body, (3, 4, 4), 0.5)
    depthwise = narrow[1]
    assert (depthwise.in_channels, depthwise.out_channels, depthwise.groups) == (4, 8, 4)


def test_a_narrow_network_starts_like_the_wide_one_at_its_width():
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(100, 400), nn.ReLU(), nn.Linear(400, 400), nn.Linear(400, 7))
    nn.init.zeros_(wide[1 + 1].bias)
    narrow = narrowed(wide, (100,), 0.25)
    assert [tuple(layer.weight.shape) for layer in (narrow[0], narrow[2], narrow[3])] == [
        (100, 100),
        (100, 100),
        (7, 100),
    ]
    for old, new, factor in ((wide[0], narrow[0], 1.0), (wide[2], narrow[2], 2.0), (wide[3], narrow[3], 2.0)):
        assert new.weight.std().item() == pytest.approx(factor * old.weight.std().item(), rel=0.1)
    assert not narrow[2].bias.any()


def test_the_network_that_is_packed_is_not_changed():
    wide = network()
    before = {key: value.clone() for key, value in wide.state_dict().items()}
    packed_ensemble(wide, (3, 32, 32), members=2)
    batch_ensemble(wide, members=2)
    assert wide.training
    assert wide.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in wide.state_dict().items())


@pytest.mark.parametrize("name", ["noel2017_st", "lenet5", "torchvision/mobilenet_v2"])
def test_batch_ensemble_members_of_factor_one_are_the_network_itself(name):
    shared, x = network(name), torch.randn(2, 3, *(28, 28) if name == "lenet5" else (32, 32))
    one = batch_ensemble(shared, members=3).eval()
    with torch.no_grad():
        for key, parameter in one.named_parameters():
            if key.endswith((".r", ".s")):
                parameter.fill_(1.0)
    close(one(x), shared.eval()(x))


def test_a_batch_ensemble_costs_one_network_and_a_pass_of_each_member():
    plain, one = (count(built, (3, 32, 32)) for built in (network(), batch_ensemble(network(), members=4)))
    vectors = sum(
        4 * (layer.in_channels + layer.out_channels)
        for layer in network().modules()
        if isinstance(layer, nn.Conv2d)
    )
    head = next(layer for layer in network().modules() if isinstance(layer, nn.Linear))
    biases = sum(
        3 * len(m.bias)
        for m in network().modules()
        if isinstance(m, nn.Conv2d | nn.Linear) and m.bias is not None
    )
    assert one.macs == 4 * plain.macs
    assert one.parameters == plain.parameters + vectors + 4 * (head.in_features + head.out_features) + biases


@pytest.mark.parametrize("kind", sorted(DEFAULTS))
def test_a_name_builds_the_ensemble_and_equal_seeds_equal_ones(kind):
    name = f"{kind}(noel2017_st(filters=4), members=2)"
    one, again, other = network(name), network(name), network(name, seed=1)
    x = pictures()
    assert one.eval()(x).shape == (4, 5)
    assert torch.equal(one(x), again.eval()(x))
    assert not torch.equal(one(x), other.eval()(x))
    assert one.train()(x).shape == (2, 4, 5)


@given(
    st.sampled_from(["resnet18", "noel2017_st(filters=4, bricks=2)", "timm/resnet10t"]),
    st.integers(1, 99),
    st.integers(1, 400),
    st.integers(1, 9),
    st.sampled_from(["", " "]),
)
def test_a_name_is_read_as_it_is_written(network, members, alpha, gamma, space):
    text = f"packed_ensemble({network},{space}gamma={gamma},{space}members={members}, alpha={alpha / 4})"
    options = {"members": members, "alpha": alpha / 4, "gamma": gamma}
    assert named(text) == Named("packed_ensemble", network, options)
    assert inside(text) == network
    assert named(network) is None


@pytest.mark.parametrize(
    "name",
    [
        "batch_ensemble",
        "batch_ensemble()",
        "batch_ensemble(resnet18",
        "batch_ensemble(resnet18, alpha=2)",
        "batch_ensemble(resnet18, members=1.5)",
        "batch_ensemble(resnet18, members=-1)",
        "packed_ensemble(resnet18, members=2, gamma=0.5)",
        "packed_ensemble(resnet18, 4)",
    ],
)
def test_a_wrong_name_is_answered_with_its_form(name):
    with pytest.raises(UsageError, match=r"expected (batch|packed)_ensemble\(NETWORK, members=4"):
        network(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("batch_ensemble(resnet_18)", "no network is named 'resnet_18'"),
        ("batch_ensemble(own.py:factory)", "call concord.batch_ensemble in its factory"),
        ("batch_ensemble(batch_ensemble(resnet18))", "cannot be in brackets here"),
        ("batch_ensemble(resnet18, members=0)", "at least 1 and at most 64 members, got 0"),
        ("batch_ensemble(noel2017_st, members=65)", "at least 1 and at most 64 members, got 65"),
        ("packed_ensemble(noel2017_st, members=65)", "at least 1 and at most 64, .*; got 65, 1 and 2.0"),
        ("packed_ensemble(noel2017_st, alpha=0)", "alpha is above 0"),
        ("packed_ensemble(lenet5)", "lenet5: a packed ensemble is made of .*; s2 is a Subsampling"),
        (
            "packed_ensemble(resnet20, members=3, alpha=1)",
            "cannot have other widths: .*alpha equal to members",
        ),
        ("packed_ensemble(lstm)", "lstm takes no pictures"),
    ],
)
def test_what_cannot_be_an_ensemble_in_one_network_is_refused(name, said):
    with pytest.raises(UsageError, match=said):
        network(name)


def test_an_ensemble_that_is_too_large_is_stopped_before_it_takes_memory():
    with (
        bounded(Limit(numbers=10**6, because="does not fit")),
        pytest.raises(TooLargeError, match="1,000,000"),
    ):
        network("packed_ensemble(noel2017_st, members=2, alpha=9999)")
    with bounded(Limit(numbers=2 * 10**6)):  # 16 times 44,874, announced and built
        network("packed_ensemble(noel2017_st, members=16, alpha=16)")


def test_a_run_whose_member_is_packed_is_read_again(tmp_path):
    tables = {
        "data": {"limit": 40},
        "members": [
            {"name": "p", "network": "packed_ensemble(noel2017_st(filters=2), members=16, alpha=16)"}
        ],
        "train": {"epochs": 1, "threads": 1, "precision": "float32"},
    }
    run = concord.train(tables, out=tmp_path / "run")
    again = concord.evaluate(tmp_path / "run")
    assert again.members["p"].nll == run.result.members["p"].nll


def test_a_module_that_cannot_be_packed_is_refused_with_the_reason():
    with pytest.raises(UsageError, match=r"does not take a sample of \(3, 4, 4\)"):
        packed_ensemble(nn.Linear(5, 2), (3, 4, 4))
    with pytest.raises(UsageError, match="has no dense layer or convolution to pack"):
        packed_ensemble(nn.Flatten(), (3, 4, 4))
    with pytest.raises(UsageError, match="1 has no sizes yet"):
        packed_ensemble(nn.Sequential(nn.Flatten(), nn.LazyLinear(2)), (3, 4, 4))
    with pytest.raises(UsageError, match="Flatten has no dense layer or convolution"):
        batch_ensemble(nn.Flatten())
