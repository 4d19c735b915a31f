"""How every network of a search is trained: one recipe, so that networks and ways compare at equal terms.

AdamW at 0.01 with weight decay 0.05, a warm-up over a tenth of the training and a cosine down to 0, label
smoothing 0.1, a moving average of the weights over a fiftieth of the updates; pictures are shifted by up to
an eighth of their side, and those in colour are mirrored too.

Source of the schedule and the decay: github.com/xvel/cifar10-tiniest, 2025, with half of its rate; label
smoothing: C. Szegedy et al., "Rethinking the Inception architecture", CVPR 2016, section 7.
"""

from collections.abc import Sequence

from concord.data.batches import steps_per_epoch
from concord.runs import toml
from concord.runs.config import Config, Member
from concord.runs.config_consensus import Consensus
from concord.shipping.material import Material

LARGE = 10_000  # images from which batches are twice as large
AVERAGED = 50  # times the updates that the moving average looks back over make the training
MOST_EMA = 0.999
COLOURS = 3


def config_of(
    material: Material,
    members: Sequence[Member],
    *,
    epochs: int,
    threads: int,
    consensus: Consensus | None = None,
) -> Config:
    """The settings of one run."""
    channels, height, width = material.interface.shape
    batch = 64 if material.images <= LARGE else 128
    updates = epochs * steps_per_epoch(material.images, batch)
    plain = {
        "data": material.data.model_dump(mode="json", exclude_none=True),
        "augment": {"flip": channels == COLOURS, "shift": min(height, width) // 8},
        "members": [member.model_dump(mode="json", exclude_none=True) for member in members],
        "consensus": (consensus or Consensus()).model_dump(mode="json", exclude_none=True),
        "train": {
            "epochs": epochs,
            "batch_size": batch,
            "seed": material.data.seed,
            "optimizer": {"kind": "adamw", "lr": 0.01, "weight_decay": 0.05},
            "schedule": "cosine",
            "warmup": 0.1,
            "label_smoothing": 0.1,
            "ema": max(0.0, min(MOST_EMA, 1 - AVERAGED / updates)),
            "threads": threads,
        },
    }
    return toml.parse(plain)
