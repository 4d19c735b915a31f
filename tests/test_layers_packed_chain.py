"""Chains of packed layers: calls of the kernel that are recorded once and made again."""

import copy
import io
import threading

import pytest
import torch
from packed_made import filled
from torch import nn

from concord.errors import DataError, UsageError
from concord.layers import pack
from concord.layers.binary.convolution import XNORConv2d
from concord.layers.binary.dense import XNORLinear
from concord.layers.packed import chain, repeats
from concord.layers.packed.chain import Chain
from concord.layers.packed.repeats import Record
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


def records(chain: Chain) -> list[Record]:
    return [*chain.__dict__["records"].values()]


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return made.to(memory_format=torch.channels_last)


@torch.no_grad()
def test_what_is_made_again_equals_what_was_recorded_and_the_network():
    network = units()
    packed = pack(network)
    (stretch,) = chains(packed)
    for n, side in ((2, 9), (1, 7)):
        for seed in range(3):  # the first is recorded
            x = image(n, 40, side, side, seed=seed)
            assert torch.equal(packed(x), network(x))
    assert [record.program is not None for record in records(stretch)] == [True, True]


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
@pytest.mark.parametrize("side", [3, 8, 13, 20, 26])
def test_a_shortcut_that_is_copied_on_the_way_is_not_recorded(side):
    """The copy is freed after the call, and the next map may lie where it lay."""
    network = units()
    packed = pack(network)
    for seed in range(3):
        x = torch.randn(2, 40, side, side, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(packed(x), network(x))


@torch.no_grad()
def test_a_chain_may_end_in_bits():
    """They take twice the memory of as many floats."""

    class Parted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(*(XNORConv2d(64, 64, 1) for _ in range(3)))
            self.last = XNORConv2d(64, 64, 1)

        def forward(self, x):
            y = self.layers(x)
            other = torch.relu(x)  # between the layers and the one that reads their bits
            return self.last(y) + other

    torch.manual_seed(0)
    network = Parted().eval()
    packed = pack(network)
    for seed in range(3):
        x = image(1, 64, 20, 20, seed=seed)
        assert torch.equal(packed(x), network(x))
    (stretch,) = chains(packed)
    assert records(stretch)[0].program.outputs.dtype == torch.int64


@torch.no_grad()
def test_buffers_that_are_replaced_or_moved_are_those_that_count():
    network, other, x = units(), units(), image(1, 40, 7, 7)
    for parameter in other.parameters():
        parameter.copy_(torch.randn_like(parameter))
    packed, stranger = pack(network), pack(other)
    packed(x), stranger(x)
    replaced = torch.func.functional_call(packed, dict(stranger.named_buffers()), (x,))
    assert torch.equal(replaced, other(x))
    assert torch.equal(packed(x), network(x))
    alpha = packed.get_submodule("1.conv").alpha
    alpha.data = 2 * alpha.data
    network.get_submodule("1.conv").weight *= 2
    assert torch.equal(packed(x), network(x))


@torch.no_grad()
def test_hooks_of_layers_are_called_every_time():
    network, x, seen = units(), image(1, 40, 7, 7), []
    packed = pack(network)
    packed(x)
    hook = packed.get_submodule("2.conv").register_forward_hook(lambda *_: seen.append(1))
    for _ in range(3):
        assert torch.equal(packed(x), network(x))
    hook.remove()
    packed(x)
    assert len(seen) == 3


@torch.no_grad()
def test_what_is_not_a_plain_tensor_is_not_taken_for_one():
    network, x = units(), image(1, 40, 7, 7)
    packed = pack(network)
    packed(x)
    assert torch.equal(packed(torch._neg_view(x)), network(-x))
    several = torch.stack([x, 2 - x])
    with pytest.warns(UserWarning, match="performance drop"):
        made = torch.vmap(packed)(several)
    assert torch.equal(made, torch.stack([network(x), network(2 - x)]))
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(packed(x), network(x))
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("count", [1, 4])
def test_a_gradient_is_refused_by_every_door(count):
    """Of one layer, and of a chain; torch.func.grad would give zeros."""
    packed, x = pack(units(count)), image(1, 40, 7, 7)
    for ask in (
        lambda: packed(x.clone().requires_grad_()),
        lambda: torch.func.grad(lambda maps: packed(maps).sum())(x),
        lambda: torch.vmap(torch.func.grad(lambda maps: packed(maps).sum()))(x[None]),
    ):
        with pytest.raises(UsageError, match="no gradient"):
            ask()


def test_a_gradient_of_rows_is_refused():
    packed = pack(XNORLinear(6, 4))
    with pytest.raises(UsageError, match="no gradient"):
        torch.func.grad(lambda rows: packed(rows).sum())(torch.ones(2, 6))


@torch.no_grad()
def test_maps_that_are_kept_are_bounded_for_all_shapes_together(monkeypatch):
    network = units(4, 64)
    packed = pack(network)
    (stretch,) = chains(packed)
    packed(image(1, 64, 8, 8))
    one = records(stretch)[0].bytes
    assert one >= 3 * 64 * 64 * 4  # three maps between four layers
    monkeypatch.setattr(repeats, "LARGEST", 3 * one)
    for n in (1, 2, 3, 4, 5):
        x = image(n, 64, 8, 8)
        for _ in range(2):
            assert torch.equal(packed(x), network(x))
        assert sum(record.bytes for record in records(stretch)) <= 3 * one
    assert records(stretch)[-1].program is None  # of five images, too large


@torch.no_grad()
def test_maps_too_large_to_keep_are_not_held_while_others_are_made(monkeypatch):
    (layers,) = chains(pack(units()))
    x = image(1, 40, 7, 7)
    assert len(layers._noting(x)) == 7  # four maps, and the bits of three
    monkeypatch.setattr(chain, "LARGEST", 7 * 7 * 40 * 4)
    assert len(layers._noting(x)) == 1


@torch.no_grad()
def test_more_threads_than_records_run_one_chain():
    network, x, failed = units(3, 16), image(1, 16, 5, 5), []
    packed, expected = pack(network), network(x)

    def run() -> None:
        try:
            with torch.no_grad():
                failed.extend(1 for _ in range(60) if not torch.equal(packed(x), expected))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(2 * repeats.SHAPES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


@torch.no_grad()
def test_copies_and_pickles_of_a_chain_run_with_weights_of_their_own():
    network, other, x = units(), units(), image(1, 40, 7, 7)
    for parameter in other.parameters():
        parameter.copy_(torch.randn_like(parameter))
    packed = pack(network)
    packed(x)
    file = io.BytesIO()
    torch.save(packed, file)
    file.seek(0)
    for made in (copy.deepcopy(packed), torch.load(file, weights_only=False)):
        assert torch.equal(made(x), network(x))
        made.load_state_dict(pack(other).state_dict())
        assert torch.equal(made(x), other(x))
        assert torch.equal(packed(x), network(x))


@torch.no_grad()
def test_a_packed_network_may_be_part_of_one_to_pack():
    network = units()
    outer = nn.Sequential(pack(network), XNORConv2d(40, 8, 1)).eval()
    packed = pack(outer)
    for seed in range(3):
        x = image(1, 40, 7, 7, seed=seed)
        assert torch.equal(packed(x), outer(x))
    assert len(packed.state_dict()) == len(outer.state_dict()) + 1  # alpha of the last layer


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
