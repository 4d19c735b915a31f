"""Layers that compute several members at once, beside a layer of each."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, linear

from concord.errors import ShapeError, UsageError
from concord.layers.members import Folded, GroupedLinear, RankOne

MEMBERS = 3


def rank_one(layer, members=MEMBERS):
    """With vectors that are no signs and biases that differ, so that no factor can stand for another."""
    made = RankOne(copy.deepcopy(layer), members).double()
    with torch.no_grad():
        for parameter in (made.r, made.s, *([] if made.bias is None else [made.bias])):
            parameter.copy_(torch.randn_like(parameter))
    return made


def test_a_dense_layer_of_two_members_by_hand():
    layer = nn.Linear(2, 1)
    made = RankOne(layer, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 3.0]]))
        made.r.copy_(torch.tensor([[1.0, -1.0], [4.0, 5.0]]))
        made.s.copy_(torch.tensor([[2.0], [-1.0]]))
        made.bias.copy_(torch.tensor([[10.0], [0.5]]))
    # 2 (2 1 1 + 3 (-1) 1) + 10 = 8, and -(2 4 1 + 3 5 2) + 0.5 = -37.5
    assert made(torch.tensor([[1.0, 1.0], [1.0, 2.0]])).tolist() == [[8.0], [-37.5]]


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_a_member_is_the_convolution_with_its_rank_one_factor(groups, bias):
    layer = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=groups, bias=bias).double()
    made, x = rank_one(layer), torch.randn(MEMBERS, 2, 4, 5, 5, dtype=torch.float64)
    for m, y in enumerate(made(x.flatten(0, 1)).unflatten(0, (MEMBERS, -1))):
        into = made.r[m].view(groups, 1, -1).expand(-1, 6 // groups, -1).flatten(0, 1)  # (6, 4 / groups)
        weight = layer.weight * (made.s[m][:, None] * into)[..., None, None]
        own = made.bias[m] if bias else None
        torch.testing.assert_close(y, conv2d(x[m], weight, own, 2, 1, groups=groups))


def test_a_member_is_the_dense_layer_with_its_rank_one_factor_also_along_a_sequence():
    layer = nn.Linear(4, 5).double()
    made, x = rank_one(layer), torch.randn(MEMBERS, 2, 7, 4, dtype=torch.float64)
    for m, y in enumerate(made(x.flatten(0, 1)).unflatten(0, (MEMBERS, -1))):
        weight = layer.weight * torch.outer(made.s[m], made.r[m])
        torch.testing.assert_close(y, linear(x[m], weight, made.bias[m]))


def test_vectors_start_as_signs_of_their_own_and_biases_as_that_of_the_layer():
    torch.manual_seed(0)
    layer = nn.Conv2d(40, 50, 1)
    bias = layer.bias.detach().clone()
    made = RankOne(layer, 2)
    for vectors in (made.r, made.s):
        assert set(vectors.flatten().tolist()) == {-1.0, 1.0}
        assert not torch.equal(vectors[0], vectors[1])
    assert torch.equal(made.bias, torch.stack([bias, bias]))
    assert [name for name, _ in made.named_parameters()] == ["r", "s", "bias", "shared.weight"]


def test_grouped_dense_layers_are_those_of_the_members():
    layers = [nn.Linear(4, 5) for _ in range(MEMBERS)]
    made = GroupedLinear(
        *(torch.cat([getattr(one, name) for one in layers]) for name in ("weight", "bias")), MEMBERS
    )
    x = torch.randn(MEMBERS, 2, 7, 4)
    wanted = torch.cat([layer(own) for layer, own in zip(layers, x, strict=True)])
    torch.testing.assert_close(made(x.flatten(0, 1)), wanted)


def test_a_folded_layer_of_groups_is_a_layer_of_each_member():
    layers = [nn.Conv2d(2, 3, 3, bias=False) for _ in range(MEMBERS)]
    wide = nn.Conv2d(2 * MEMBERS, 3 * MEMBERS, 3, groups=MEMBERS, bias=False)
    wide.weight = nn.Parameter(torch.cat([layer.weight for layer in layers]))
    x = torch.randn(MEMBERS, 4, 2, 5, 5)
    wanted = torch.cat([layer(own) for layer, own in zip(layers, x, strict=True)])
    torch.testing.assert_close(Folded(wide, MEMBERS)(x.flatten(0, 1)), wanted)


@pytest.mark.parametrize(
    "layer",
    [
        rank_one(nn.Conv2d(2, 2, 2), 2),
        rank_one(nn.Linear(2, 2), 2),
        GroupedLinear(torch.randn(6, 2), torch.randn(6), 2).double(),
    ],
    ids=["rank one, convolution", "rank one, dense", "grouped"],
)
def test_gradients_match_finite_differences(layer):
    shape = (4, 2, 3, 3) if hasattr(layer, "shared") and isinstance(layer.shared, nn.Conv2d) else (4, 2)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]

    def output(x, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    assert torch.autograd.gradcheck(output, (x, *layer.parameters()))


def test_samples_that_are_not_those_of_all_members_are_refused():
    with pytest.raises(ShapeError, match=r"samples of 3 members, got a tensor of shape \(4, 2\)"):
        rank_one(nn.Linear(2, 2))(torch.zeros(4, 2, dtype=torch.float64))


@pytest.mark.parametrize(("layer", "members"), [(nn.BatchNorm2d(3), 2), (nn.Linear(2, 2), 0)])
def test_what_no_vectors_can_scale_is_refused(layer, members):
    with pytest.raises(UsageError, match="expected a layer"):
        RankOne(layer, members)
