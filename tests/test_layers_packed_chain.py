"""Chains of packed layers: calls of the kernel that are recorded once and made again."""

import threading

import pytest
import torch
from packed_made import filled
from torch import nn

from concord.errors import DataError
from concord.layers import pack
from concord.layers.binary.convolution import XNORConv2d
from concord.layers.packed.chain import Chain
from concord.native.library import library

pytestmark = pytest.mark.skipif(library() is None, reason="the kernel is not built here")


class Unit(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm = XNORConv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x):
        return self.norm(self.conv(x)) + x


def units(count: int = 4, width: int = 40) -> nn.Module:
    torch.manual_seed(count)
    return filled(nn.Sequential(*(Unit(width) for _ in range(count))))


def chains(network: nn.Module) -> list[Chain]:
    return [module for module in network.modules() if isinstance(module, Chain)]


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return made.to(memory_format=torch.channels_last)


@torch.no_grad()
def test_what_is_made_again_equals_what_was_recorded_and_the_network():
    network = units()
    packed = pack(network)
    (chain,) = chains(packed)
    for n, side in ((2, 9), (1, 7)):
        for seed in range(3):  # the first is recorded
            x = image(n, 40, side, side, seed=seed)
            assert torch.equal(packed(x), network(x))
    assert sum(program is not None for program in chain.__dict__["programs"].values()) == 2


@torch.no_grad()
def test_an_output_stays_as_it_was_when_the_chain_runs_again():
    packed = pack(units())
    outputs = [packed(image(1, 40, 7, 7, seed=seed)) for seed in range(3)]
    kept = [out.clone() for out in outputs]
    packed(image(1, 40, 7, 7, seed=9))
    assert all(torch.equal(a, b) for a, b in zip(outputs, kept, strict=True))


@torch.no_grad()
def test_new_weights_are_those_that_count():
    network, other, x = units(), units(), image(1, 40, 7, 7)
    for parameter in other.parameters():
        parameter.copy_(torch.randn_like(parameter))
    packed = pack(network)
    before = packed(x), packed(x)
    packed.load_state_dict(pack(other).state_dict())
    assert torch.equal(packed(x), other(x))
    assert torch.equal(packed(x), other(x))
    assert not torch.equal(before[1], other(x))


@torch.no_grad()
def test_strides_of_the_input_are_looked_at():
    network = units()
    packed, x = pack(network), image(2, 40, 6, 6)
    for each in (x, x.contiguous(), x.transpose(2, 3), x):
        assert torch.equal(packed(each), packed(each))
        assert torch.equal(packed(each), network(each))


@torch.no_grad()
def test_a_sum_that_repeats_its_shortcut_is_not_recorded():
    class Repeats(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = XNORConv2d(8, 8, 3), XNORConv2d(8, 8, 3, padding=1)
            self.third = XNORConv2d(8, 8, 1)

        def forward(self, x):
            y = self.first(x)  # (B, 8, 1, 1), repeated along the map
            return self.third(self.second(x) + y)

    torch.manual_seed(0)
    network = Repeats().eval()
    packed = pack(network)
    for seed in range(3):
        x = image(1, 8, 3, 3, seed=seed)
        assert torch.equal(packed(x), network(x))


@torch.no_grad()
def test_threads_that_run_one_chain_do_not_meet():
    network = units()
    packed, wrong = pack(network), []
    inputs = [image(1, 40, 12, 12, seed=seed) for seed in range(4)]
    expected = [network(x) for x in inputs]

    def run(i: int) -> None:
        with torch.no_grad():
            wrong.extend(i for _ in range(50) if not torch.equal(packed(inputs[i]), expected[i]))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@torch.no_grad()
def test_values_that_are_no_numbers_are_refused_when_a_chain_runs_again():
    packed, x = pack(units()), image(1, 40, 7, 7)
    packed(x)
    x[0, 3, 2, 1] = torch.nan
    with pytest.raises(DataError, match="infinite or no number"):
        packed(x)


@torch.no_grad()
def test_memory_of_a_large_output_is_used_again_only_when_nobody_holds_it():
    packed, x = pack(units()), image(16, 40, 32, 32)  # 2.6 MB
    expected = packed(x).clone()
    first = packed(x)
    view, array, alias = packed(x)[3:5], packed(x).numpy(), packed(x).detach()
    packed(2 * x + 1)
    assert torch.equal(first, expected)
    assert torch.equal(view, expected[3:5])
    assert torch.equal(torch.from_numpy(array), expected)
    assert torch.equal(alias, expected)
    del first, view, array, alias
    again, once_more = packed(x).data_ptr(), packed(x).data_ptr()
    assert again == once_more


@torch.no_grad()
def test_outputs_of_inference_mode_are_not_mixed_with_others():
    packed, x = pack(units()), image(16, 40, 32, 32)
    with torch.inference_mode():
        packed(x)
        assert packed(x).is_inference()
    packed(x)
    assert not packed(x).is_inference()
