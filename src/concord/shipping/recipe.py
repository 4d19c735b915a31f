"""How every network of a search is trained: one recipe, so that networks and ways compare at equal terms.

AdamW at 0.01 with weight decay 0.05, a warm-up over a tenth of the training and a cosine down to 0, label
smoothing 0.1; pictures are shifted by up to an eighth of their side, and those in colour are mirrored too.

Source of the schedule and the decay: github.com/xvel/cifar10-tiniest, 2025, with half of its rate; label
smoothing: C. Szegedy et al., "Rethinking the Inception architecture", CVPR 2016, section 7.
"""

from collections.abc import Sequence

from concord.runs import toml
from concord.runs.config import Config, Consensus, Member
from concord.shipping.material import Material

LARGE = 10_000  # images from which batches are twice as large
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
    plain = {
        "data": material.data.model_dump(mode="json", exclude_none=True),
        "augment": {"flip": channels == COLOURS, "shift": min(height, width) // 8},
        "members": [member.model_dump(mode="json", exclude_none=True) for member in members],
        "consensus": (consensus or Consensus()).model_dump(mode="json", exclude_none=True),
        "train": {
            "epochs": epochs,
            "batch_size": 64 if material.images <= LARGE else 128,
            "seed": material.data.seed,
            "optimizer": {"kind": "adamw", "lr": 0.01, "weight_decay": 0.05},
            "schedule": "cosine",
            "warmup": 0.1,
            "label_smoothing": 0.1,
            "threads": threads,
        },
    }
    return toml.parse(plain)
