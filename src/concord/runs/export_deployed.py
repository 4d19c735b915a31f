"""The network as it is exported, uint8 pixels in and probabilities out, and its check against ``predict``."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from concord.data.normalise import Normalise
from concord.errors import UsageError
from concord.runs.export_formats import Ask, Inputs
from concord.runs.loading import Loaded

TOLERANCE = 1e-5  # largest difference in any probability between the exported file and ``predict``
# with binary layers: where a value rounds to the other side of 0, its sign, which weighs as any, is another
TOLERANCE_OF_SIGNS = 1e-3
BATCHES = (1, 3, 8)


class Deployed(nn.Module):
    """Probabilities of one member, or of the mean logits of several, in float32, at a temperature.

    Shape: uint8 (B, C, H, W) -> (B, K)
    """

    mean: Tensor
    std: Tensor

    def __init__(self, members: Sequence[nn.Module], normalise: Normalise, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.members = nn.ModuleList(members)
        self.register_buffer("mean", torch.tensor(normalise.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(normalise.std).view(1, -1, 1, 1))
        self.eval().to(memory_format=torch.contiguous_format)

    def forward(self, pixels: Tensor) -> Tensor:
        x = (pixels.to(torch.float32) - self.mean) / self.std
        # a member that works in place must not change what the next one sees
        logits = torch.stack([member(x.clone()) for member in self.members]).mean(0)
        return (logits if self.temperature == 1 else logits / self.temperature).softmax(-1)


def example(shape: tuple[int, int, int], batch: int) -> Tensor:
    """Random pixels, the same for each batch size. Shape: uint8 (B, C, H, W)"""
    generator = torch.Generator().manual_seed(batch)
    return torch.randint(0, 256, (batch, *shape), generator=generator, dtype=torch.uint8)


def pictures(shape: tuple[int, int, int]) -> Inputs:
    """Any batch of images of that shape."""
    return Inputs({"pixels": example(shape, 2)}, {"pixels": {0: "batch"}})


def largest_difference(
    ask: Ask, loaded: Loaded, member: str, temperature: float = 1.0, most: float = TOLERANCE
) -> float:
    """Of any probability between the exported file and the run at that temperature, over three batch sizes.

    UsageError if it is more than ``most``, or than ``most`` / T of a temperature below 1, which makes all
    differences of logits that much larger.
    """
    worst = torch.zeros(())
    for batch in BATCHES:
        pixels = example(loaded.interface.shape, batch)
        apart = (ask(pixels) - loaded.probabilities(pixels, member, temperature)).abs().max()
        worst = torch.maximum(worst, apart)  # which keeps what is not a number
    return within_tolerance(worst, most / min(1.0, temperature))


def within_tolerance(worst: Tensor, most: float = TOLERANCE) -> float:
    """The largest difference as a number; UsageError if it is more than ``most``, or not a number."""
    if not worst <= most:
        raise UsageError(
            f"the exported file differs from `concord predict` by {worst:.1e}, more than {most:g};"
            " nothing was written"
        )
    return worst.item()
