"""What every network of the zoo keeps, whatever its paper.

Some have 140 million parameters. So pictures are smaller than the example where the network takes smaller
ones, and what does not depend on values is tested on the meta device.
"""

import re
from contextlib import suppress
from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from concord import zoo
from concord.cost.count import count
from concord.errors import ShapeError
from concord.layers.binary.convolution import XNORConv2d
from concord.layers.binary.dense import XNORLinear
from concord.zoo.detector import Detector


def reads_pictures(row):
    """Sequences have a contract of their own."""
    first = row["input"][0] if isinstance(row["input"][0], list) else row["input"]
    return len(first) == 3


ROWS = sorted(filter(reads_pictures, zoo.listing()), key=lambda row: -row["macs"])
OWN = {row["name"]: row for row in ROWS if row["module"] != "concord.zoo.library"}
SMALL = {name: row for name, row in OWN.items() if row["parameters"] < 10_000_000}
# The cheapest network of each file, if it has less than 100 million multiply-accumulates: what takes seconds
# for one of these takes minutes for the others, and `make soak` does it for all.
LIGHT = {row["module"]: row["name"] for row in SMALL.values() if row["macs"] < 100_000_000}.values()

# In this order a network has the same place in every list, and pytest runs its tests together, on one build.
NAMES = sorted(
    (row["name"] for row in ROWS),
    key=lambda name: (name not in LIGHT, name not in SMALL, name not in OWN, name),
)
every, every_own, every_small = (
    pytest.mark.parametrize("entry", NAMES[: len(names)], indirect=True, scope="module")
    for names in (NAMES, OWN, SMALL)
)
light_now_every_own_in_a_soak = pytest.mark.parametrize(
    "entry",
    [pytest.param(name, marks=() if name in LIGHT else pytest.mark.soak) for name in NAMES[: len(OWN)]],
    indirect=True,
    scope="module",
)


@pytest.fixture(scope="module")
def entry(request):
    return zoo.find(request.param)


def on_meta(entry, **options):
    with torch.device("meta"):
        return entry.build(**options)


def inputs(entry, size, shape, device="cpu", dtype=torch.float32):
    """What the network is called with: pictures, and token ids where it reads some."""
    pictures = torch.randn(size, *shape, device=device, dtype=dtype)
    if entry.text is None:
        return (pictures,)
    length, vocabulary = entry.text
    return pictures, torch.randint(vocabulary, (size, length), device=device)


def outputs(network, batch):
    """All tensors that come out; a detector may have several."""
    out = network(*batch)
    return out if isinstance(out, tuple | list) else (out,)


def takes_signs(network):
    """Whether a number within rounding of 0 decides an output of -1 or +1."""
    return any(isinstance(module, XNORConv2d | XNORLinear) for module in network.modules())


def total(tensors):
    return sum(tensor.float().square().sum() for tensor in tensors)


@pytest.fixture(scope="module")
def hollow(entry):
    """The network on the meta device, in evaluation."""
    return on_meta(entry).eval()


@pytest.fixture(scope="module")
def shape(entry, hollow):
    """(C, H, W) of the smallest square picture that the network takes, of a few sizes; else the example."""
    grid = getattr(hollow, "grid", None)  # of a network that takes few sizes and says which
    for side in (8, 16, 32, 64, 128, 192, 256) if grid is None else (grid.fitting(1),):
        shape = (entry.example[0], side, side)
        if entry.example[1] / 4 <= side < entry.example[1]:
            with suppress(ShapeError, RuntimeError):
                hollow(*inputs(entry, 2, shape, "meta"))
                return shape
    return entry.example


@pytest.fixture(scope="module")
def network(entry):
    """Built once for the tests that need values. torchvision's own start takes long and is not under test.

    In float64 where signs are taken: two ways to round then give the same signs.
    """
    torch.manual_seed(0)
    if not entry.library:
        own = entry.build()
        return own.double() if takes_signs(own) else own
    network = on_meta(entry).to_empty(device="cpu")
    for p in network.parameters():
        bound = (6 / p[0].numel()) ** 0.5 if p.ndim > 1 else 0.5
        nn.init.uniform_(p, -bound, bound)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    return network


@pytest.fixture(scope="module")
def dtype(network):
    return next(network.parameters()).dtype


@pytest.fixture(scope="module")
def batch(entry, shape, network, dtype):
    """Two samples, or three: behind normalised maps of 1x1 the gradients of two cancel in float64."""
    torch.manual_seed(1)
    return inputs(entry, 3 if takes_signs(network) else 2, shape, dtype=dtype)


@pytest.fixture(scope="module")
def without_gradient(network, batch):
    """Names of the parameters that one pass forward and back does not reach; running statistics move."""
    total(outputs(network.train(), batch)).backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.count_nonzero()]
    network.zero_grad()
    return missing


@pytest.fixture(scope="module")
def made(network, batch, without_gradient):
    """What comes out in evaluation, after that pass."""
    with torch.no_grad():
        return outputs(network.eval(), batch)


# --- every network ------------------------------------------------------------


@every
def test_costs_are_the_stated_ones_and_those_of_torchs_counter(entry, hollow):
    one = inputs(entry, 1, entry.example, "meta")
    cost = count(hollow, *one)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        hollow(*one)
    assert cost.parameters == entry.parameters
    assert cost.macs == counter.get_total_flops() / 2


@every
@pytest.mark.parametrize(("channels", "classes"), [(1, 100), (5, 2)])
def test_takes_other_channels_and_classes(entry, shape, channels, classes):
    network = on_meta(entry, channels=channels, classes=classes).eval()
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    made = outputs(network, inputs(entry, 2, (channels, *shape[1:]), "meta"))
    assert all(tensor.shape[0] == 2 for tensor in made)
    if isinstance(network, Detector):
        assert network.classes == classes
        per_map = [x.shape[1] / max(network.cells, 1) ** 2 for x in made]
        assert per_map == [network.per_map] * max(len(network.strides), 1)
    elif made[0].ndim == 2:  # a classifier
        assert [tensor.shape for tensor in made] == [(2, classes)]
    if hasattr(network, "grid"):  # a class for every pixel
        assert [tensor.shape[:2] for tensor in made] == [(2, classes)]


@every
def test_every_parameter_gets_a_gradient(without_gradient):
    assert without_gradient == []


@every
def test_samples_do_not_see_each_other(network, batch, made):
    with torch.no_grad():
        alone = outputs(network, [x[:1] for x in batch])
    for one, several in zip(alone, made, strict=True):
        assert (one - several[:1]).abs().max() <= 1e-5 * several.abs().max()


@every
def test_state_dict_goes_round(entry, network, hollow, batch, dtype, made):
    state = network.state_dict()
    with torch.no_grad():
        if entry.name in SMALL:
            other = entry.build().eval().to(dtype)
            other.load_state_dict(state)
            again = outputs(other, batch)
        else:  # values for the hollow one: those of the state dict, and buffers that do not belong in it
            values = {**dict(network.named_buffers()), **state}
            again = outputs(partial(functional_call, hollow, values), [batch])
    for one, same in zip(made, again, strict=True):
        torch.testing.assert_close(one, same, rtol=0, atol=0)


@every
def test_wrong_channels_are_refused(entry, hollow, shape):
    wrong = inputs(entry, 3, (shape[0] + 1, *shape[1:]), "meta")
    message = "channel"
    if not entry.library:
        message = re.escape(f"expected (B, {shape[0]}, H, W), got {tuple(wrong[0].shape)}")
    with pytest.raises(RuntimeError if entry.library else ShapeError, match=message):
        hollow(*wrong)


# --- concord's own ------------------------------------------------------------


@every_own
def test_a_picture_without_batch_is_refused(entry, hollow, shape):
    picture, *text = inputs(entry, 3, shape, "meta")
    with pytest.raises(ShapeError, match="expected"):
        hollow(picture[0], *text)


@pytest.mark.fault(29)
@every_small
def test_equal_seeds_give_equal_networks(entry):
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        states.append(entry.build().state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@light_now_every_own_in_a_soak
def test_trains_in_bfloat16_and_channels_last(network, batch, made):
    other = deepcopy(network).to(memory_format=torch.channels_last)
    again = [x.to(memory_format=torch.channels_last) if x.ndim == 4 else x for x in batch]
    with torch.no_grad():  # in evaluation: batch statistics of two samples blow up any rounding
        exact = outputs(other.eval(), again)
        other, again = other.float(), [x.float() if x.is_floating_point() else x for x in again]
        with torch.autocast("cpu", torch.bfloat16):
            rounded = outputs(other, again)
    for one, same, near in zip(made, exact, rounded, strict=True):
        assert (same - one).norm() < 1e-4 * one.norm()
        assert (near - one).norm() < 0.1 * one.norm() or takes_signs(network)

    with torch.autocast("cpu", torch.bfloat16):
        trained = outputs(other.train(), again)
    total(trained).backward()
    assert all(tensor.dtype == torch.bfloat16 for tensor in trained)
    assert all(p.dtype == torch.float32 and p.grad.isfinite().all() for p in other.parameters())


@light_now_every_own_in_a_soak
def test_exports_with_a_free_batch_size(entry, network, batch, shape, dtype):
    free = tuple({0: torch.export.Dim("batch")} for _ in batch)
    with torch.no_grad():
        program = torch.export.export(network.eval(), batch, dynamic_shapes=free)
        for size in (2, 7):
            x = inputs(entry, size, shape, dtype=dtype)
            torch.testing.assert_close(program.module()(*x), network(*x))


@light_now_every_own_in_a_soak
def test_compiles_as_one_graph(network, batch):
    compiled = torch.compile(network.eval(), backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(*batch), network(*batch))
