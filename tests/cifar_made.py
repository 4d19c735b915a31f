"""For the tests of the networks for small pictures: random states, costs, weights moved between libraries."""

import torch
from torch.utils.flop_counter import FlopCounterMode


def size(part):
    return sum(p.numel() for p in part.parameters())


def on_meta(build, **sizes):
    with torch.device("meta"):
        return build(**sizes)


def macs(network, shape):
    """Multiply-accumulates of one sample, counted by torch; the network lies on the meta device."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.eval()(torch.empty(1, *shape, device="meta"))
    return counter.get_total_flops() // 2


def shaken(network):
    """The same network in float64 with every number of its state random, and running variances positive."""
    generator = torch.Generator().manual_seed(1)
    network.double()
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
            tensor.copy_(noise.abs() + 0.5 if name.endswith("var") else tensor + 0.1 * noise)
    return network


def copy_in_order(source, target):
    """Parameters and buffers of one network into another whose layers stand in the same order."""
    target.double()
    for mine, other in (
        (source.parameters(), target.parameters()),
        (source.buffers(), target.buffers()),
    ):
        for value, place in zip(mine, other, strict=True):
            assert value.squeeze().shape == place.squeeze().shape  # a dense layer may be a 1x1 convolution
            place.data.copy_(value.data.reshape(place.shape))
    return target


def assert_same(network, other, x):
    """Equal outputs in evaluation and in training, and equal running statistics afterwards."""
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(x), other.eval()(x), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(network.train()(x), other.train()(x), rtol=1e-9, atol=1e-9)
    for mine, theirs in zip(network.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)


def without_gradient(network, x):
    """Names of the parameters that one backward pass does not reach."""
    network(x).square().sum().backward()
    return [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
