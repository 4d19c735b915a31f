"""Images and labels of a batch mixed in pairs: mixup and cutmix.

Sources: H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018; S. Yun et al., "CutMix",
ICCV 2019. Each image is paired with the one before it in the batch, which is shuffled; the share is drawn
once per batch.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from concord.data import draws
from concord.data.images.transforms import own_draws
from concord.errors import UsageError


@dataclass(frozen=True)
class Mix:
    """Mixup and cutmix with the parameter alpha of each share's Beta(alpha, alpha); 0: not this one.

    With both, a batch gets one of them with probability 1/2.
    """

    classes: int
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mixup", "cutmix"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UsageError(f"augment.{name} must be 0 or more, got {getattr(self, name)}")

    def __call__(self, x: Tensor, y: Tensor, sample: int, *, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
        """The mixed batch; ``sample`` is the number of its first sample, which is in no other of the epoch.

        Shape: (B, C, H, W) float32, (B,) int64 -> (B, C, H, W), (B, K) float32 whose rows sum to 1
        """
        ways = _ways(self)
        if not ways:
            return x, F.one_hot(y, self.classes).to(x.dtype)
        start = int(draws.bits(np.array([sample]), "mix", seed, epoch)[0])
        with own_draws() as begin:
            begin(start >> 1)
            mixed, targets = ways[(start & 1) % len(ways)](x, y)
        return mixed, targets


@lru_cache(maxsize=32)
def _ways(mix: Mix) -> tuple[v2.Transform, ...]:
    ways: list[v2.Transform] = []
    if mix.mixup:
        ways.append(v2.MixUp(alpha=mix.mixup, num_classes=mix.classes))
    if mix.cutmix:
        ways.append(v2.CutMix(alpha=mix.cutmix, num_classes=mix.classes))
    return tuple(ways)
