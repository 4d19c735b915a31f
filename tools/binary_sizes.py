"""Bytes on disk and time for an image of binary networks, packed, and of the same network in floats.

    python tools/binary_sizes.py xnor_lenet5 bwn_lenet5 float_lenet5

One thread, one image at a time, the least of many calls; a file is the state dict as safetensors.
"""

import argparse
import time
from collections.abc import Sequence

import torch
from safetensors.torch import save
from torch import nn

from concord import zoo
from concord.layers import pack
from concord.layers.packed.network import has_binary_layers

SECONDS = 2.0


def size(network: nn.Module) -> int:
    """Bytes of its state."""
    return len(save({name: tensor.contiguous() for name, tensor in network.state_dict().items()}))


def least(network: nn.Module, x: torch.Tensor) -> float:
    """Microseconds of a call."""
    best, end = float("inf"), time.perf_counter() + SECONDS
    with torch.inference_mode():
        while time.perf_counter() < end:
            began = time.perf_counter()
            network(x)
            best = min(best, time.perf_counter() - began)
    return best * 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="+")
    torch.set_num_threads(1)
    for name in parser.parse_args(arguments).networks:
        entry = zoo.find(name)
        network = zoo.build(name, channels=entry.example[0], classes=10).eval()
        x = torch.randn(1, *entry.example)
        line = f"{name}: {size(network):,} bytes, {least(network, x):.0f} microseconds"
        if has_binary_layers(network):
            packed = pack(network)
            line += f"; packed {size(packed):,} bytes, {least(packed, x):.0f} microseconds"
            line += f", floats joined {least(pack(network, joined='floats'), x):.0f}"
        print(line)


if __name__ == "__main__":
    main()
