"""Threads of the kernel, and Python threads that call it at once, give equal bits."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from native_made import COMPILED, emulated, forced, images, layer, needs_kernel

from concord.native import ops
from concord.native.sizes import Sizes

pytestmark = needs_kernel
# large enough for threads: an image in rows, few rows in shares of filters, many images, groups
LARGE = (
    (Sizes(130, 65, (3, 3), padding=(1, 1)), (1, 40, 33)),
    (Sizes(512, 130, (3, 3), padding=(1, 1)), (1, 3, 9)),
    (Sizes(65, 70, (3, 3), (2, 1), (1, 1)), (7, 21, 20)),
    (Sizes(128, 66, (5, 5), padding=(2, 2), groups=2, ones=True), (1, 20, 23)),
)


@pytest.mark.parametrize("path", COMPILED)
@pytest.mark.parametrize(("sizes", "image"), LARGE)
def test_any_number_of_threads_gives_the_numbers_of_one(path, sizes, image):
    made, x = layer(sizes), images(image[0], sizes.channels, *image[1:])
    expected = emulated(made, x)
    with forced(path):
        arranged = made.arranged()
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            maps, bits = ops.binary_conv_both(x, made.bits, arranged, sizes.flat(), 1, made.alpha)
            assert torch.equal(maps, expected)
            assert torch.equal(bits, ops.binary_pack(expected, 1))


@pytest.mark.parametrize("path", COMPILED)
def test_many_images_are_packed_alike_by_any_number_of_threads(path):
    x = images(9, 70, 60, 40)
    with forced(path):
        torch.set_num_threads(1)
        expected = ops.binary_pack(x, 2)
        for threads in (2, 3, 5):
            torch.set_num_threads(threads)
            assert torch.equal(ops.binary_pack(x, 2), expected)


@pytest.mark.parametrize("path", COMPILED)
def test_python_threads_do_not_share_memory_for_bits(path):
    """Four at once, each with sizes of its own, two kernel threads each."""
    cases = []
    for sizes, image in LARGE:
        made, x = layer(sizes), images(image[0], sizes.channels, *image[1:])
        cases.append((made, x, emulated(made, x)))
    with forced(path):
        torch.set_num_threads(2)

        def equal(case):
            made, x, expected = case
            flat = made.sizes.flat()
            arranged = made.arranged()
            return all(
                torch.equal(ops.binary_conv(x, made.bits, arranged, flat, made.alpha), expected)
                for _ in range(3)
            )

        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(equal, cases * 3))
