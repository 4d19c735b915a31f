"""The networks of an estimator: made of its hyper-parameter ``members``, and what they answer."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from concord.errors import UsageError
from concord.training.devices import forward
from concord.training.seeding import purpose_seed, seeded

Factory = Callable[[int, int], nn.Module]  # (features, classes) -> a network of (B, D) -> (B, K) logits
Spec = Sequence[int] | Factory
Specs = Sequence[Spec] | Mapping[str, Spec]

AT_ONCE = 500  # samples of one pass of prediction
MEMBER = "the widths of hidden layers, such as (32,), or a function (features, classes) -> torch.nn.Module"


def mlp(features: int, hidden: Sequence[int], classes: int) -> nn.Module:
    """A multilayer perceptron with ReLU between its layers; without hidden layers it is linear.

    Shape: (B, D) -> (B, K) logits
    """
    widths = [features, *hidden]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


def named(members: Specs) -> dict[str, Spec]:
    """What each member is made of, by name; in a list they are member-1, member-2, ... as in an Ensemble.

    Raises UsageError for what describes no network.
    """
    if isinstance(members, str | bytes) or not isinstance(members, Mapping | Sequence):
        raise UsageError(f"members is a list or dict; each member is {MEMBER}; got {members!r}")
    found = (
        dict(members)
        if isinstance(members, Mapping)
        else {f"member-{i}": spec for i, spec in enumerate(members, 1)}
    )
    for name, spec in found.items():
        if isinstance(spec, nn.Module) or not (callable(spec) or _is_widths(spec)):
            raise UsageError(f"member {name!r} must be {MEMBER}; got {spec!r}")
    return found


def _is_widths(spec: Any) -> bool:
    sequence = isinstance(spec, Sequence) and not isinstance(spec, str | bytes)
    return sequence and all(isinstance(width, int | np.integer) and width > 0 for width in spec)


def build(specs: Mapping[str, Spec], features: int, classes: int, seed: int) -> dict[str, nn.Module]:
    """The modules, each with weights that are a function of the seed and of its name."""
    modules = {}
    for name, spec in specs.items():
        with seeded(purpose_seed(seed, "start", name), torch.device("cpu")):
            modules[name] = (
                spec(features, classes) if callable(spec) else mlp(features, [int(w) for w in spec], classes)
            )
    return modules


@torch.no_grad()
def logits(module: nn.Module, x: Tensor) -> Tensor:
    """What the module answers in evaluation mode, computed in float64. Shape: (N, D) float64 -> (N, K)

    In float32 the last digits of an answer depend on which other samples are in the batch; scikit-learn
    expects them not to. A module that can compute only in float32 does so.
    """
    copied = deepcopy(module).eval()
    try:
        return _asked(copied.double(), x)
    except RuntimeError:  # of a module that mixes the two; one that is wrong raises it again
        return _asked(copied.float(), x.float()).double()


def _asked(module: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([forward(module, piece, torch.float32) for piece in x.split(AT_ONCE)])
