"""The operators under torch's own check of operators, torch.compile and torch.export."""

import pytest
import torch
from native_made import COMPILED, forced, images, layer

from concord.native import ops, words
from concord.native.sizes import Sizes

SIZES = Sizes(70, 33, (3, 2), (2, 1), (1, 1))
POOLING = [3, 3, 2, 2, 1, 1, 1, 1]
PATHS = (*COMPILED[:1], "torch")


class Network(torch.nn.Module):
    """Floats to floats, with bits handed from one convolution to the next."""

    def __init__(self):
        super().__init__()
        self.first, self.second = layer(SIZES), layer(Sizes(33, 9, (3, 3), padding=(0, 1)))
        self.ready = [made.arranged() for made in (self.first, self.second)]
        self.falling = words.to_words(torch.arange(33) % 3 == 0)

    def forward(self, x):
        maps, bits = ops.binary_conv_both(
            2 * x, self.first.bits, self.ready[0], SIZES.flat(), 0, self.first.alpha
        )
        pooled = ops.binary_max_pool(bits, self.falling, 33, POOLING, 1)
        y = ops.binary_conv(pooled, self.second.bits, self.ready[1], self.second.sizes.flat())
        return torch.relu(y), maps + 1


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.filterwarnings("ignore")  # torch's of its own parts
def test_operators_pass_the_check_of_torch(path):
    made, x = layer(SIZES), images(2, 70, 9, 8)
    vector, cut = torch.randn(4, 33), torch.randn(70)
    with forced(path):
        given = (x, made.bits, made.arranged(), SIZES.flat())
        bits = ops.binary_pack(x, 1)
        shortcut = torch.randn(2, 33, 5, 9)
        calls = (
            (ops.binary_conv, (*given, made.alpha, *vector[:3], None, shortcut, cut)),
            (ops.binary_conv, (bits, *given[1:])),
            (ops.binary_conv_bits, (*given, 2, made.alpha)),
            (ops.binary_conv_both, (*given, 1, made.alpha, *vector[:3], shortcut, None, None, vector[3])),
            (ops.binary_pack, (x, 1, cut)),
            (ops.binary_max_pool, (ops.binary_pack(x, 0), words.to_words(cut < 0), 70, POOLING, 1)),
        )
        for operator, arguments in calls:
            found = torch.library.opcheck(operator, arguments)
            assert set(found.values()) == {"SUCCESS"}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_network_gives_equal_numbers(path, layout):
    torch.compiler.reset()
    with forced(path):
        network = Network()
        compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
        for n in (1, 3):
            x = images(n, 70, 11, 9).to(memory_format=layout)
            for own, expected in zip(compiled(x), network(x), strict=True):
                assert torch.equal(own, expected)
                assert own.stride() == expected.stride()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.filterwarnings("ignore")
def test_an_exported_network_takes_any_number_of_images(path):
    with forced(path):
        network = Network()
        batch = torch.export.Dim("n", min=1)
        program = torch.export.export(network, (images(2, 70, 11, 9),), dynamic_shapes=({0: batch},))
        for n in (1, 2, 5):
            x = images(n, 70, 11, 9, n)
            for own, expected in zip(program.module()(x), network(x), strict=True):
                assert torch.equal(own, expected)


@pytest.mark.skipif(not COMPILED, reason="the kernel was not built")  # nor can torch compile, then
@pytest.mark.filterwarnings("ignore")
def test_a_network_compiled_to_machine_code_gives_equal_numbers():
    network = Network()
    compiled = torch.compile(network, fullgraph=True)
    x = images(3, 70, 11, 9).to(memory_format=torch.channels_last)
    for own, expected in zip(compiled(x), network(x), strict=True):
        assert torch.equal(own, expected)
