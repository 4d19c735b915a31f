"""What every network of the zoo keeps, whatever its paper."""

import pytest
import torch

from concord import zoo
from concord.cost.count import count
from concord.errors import ShapeError


@pytest.fixture(params=zoo.names())
def entry(request):
    return zoo.find(request.param)


@pytest.fixture
def batch(entry):
    return torch.randn(3, *entry.example)


def test_parameter_count_is_the_stated_one(entry):
    assert count(entry.build(), entry.example).parameters == entry.parameters


def test_every_parameter_gets_a_gradient(entry, batch):
    network = entry.build()
    network(batch).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_samples_do_not_see_each_other(entry, batch):
    network = entry.build().eval()
    torch.testing.assert_close(network(batch)[:1], network(batch[:1]), rtol=1e-4, atol=1e-5)


def test_equal_seeds_give_equal_networks(entry):
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        states.append(entry.build().state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_state_dict_goes_round(entry, batch):
    one, other = entry.build(), entry.build()
    one(batch)  # moves the running statistics
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(one.eval()(batch), other.eval()(batch), rtol=0, atol=0)


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("classes", [2, 100])
def test_takes_other_channels_and_classes(entry, channels, classes):
    network = entry.build(channels=channels, classes=classes).eval()
    assert network(torch.randn(2, channels, *entry.example[1:])).shape == (2, classes)


def test_wrong_channels_and_rank_are_refused(entry, batch):
    network = entry.build()
    with pytest.raises(ShapeError, match=r"expected \(B, 3, H, W\), got \(3, 2, 32, 32\)"):
        network(batch[:, :2])
    with pytest.raises(ShapeError, match="expected"):
        network(batch[0])


def test_builds_on_the_meta_device(entry, batch):
    with torch.device("meta"):
        network = entry.build()
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    assert network(batch.to("meta")).shape == (3, 10)


def test_trains_in_bfloat16_and_channels_last(entry, batch):
    torch.manual_seed(0)
    network = entry.build().to(memory_format=torch.channels_last)
    exact = network(batch)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(batch.to(memory_format=torch.channels_last))
    logits.float().square().sum().backward()
    assert logits.dtype == torch.bfloat16
    assert (logits - exact).abs().max() < 0.05 * exact.abs().max()
    assert all(p.dtype == torch.float32 and p.grad.isfinite().all() for p in network.parameters())


def test_exports_with_a_free_batch_size(entry, batch):
    network = entry.build().eval()
    program = torch.export.export(network, (batch,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for size in (2, 7):
        x = torch.randn(size, *entry.example)
        torch.testing.assert_close(program.module()(x), network(x))


def test_compiles_as_one_graph(entry, batch):
    network = entry.build()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(batch), network(batch))
