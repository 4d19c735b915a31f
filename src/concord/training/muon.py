"""Muon: momentum whose matrices are made orthogonal before each step.

    B <- mu B + (1 - mu) G          U = (1 - mu) G + mu B (Nesterov), or B
    W <- (1 - lr wd) W - lr sqrt(max(1, rows / columns)) O(U)

O(U) is near the orthogonal matrix P Q^T of the singular value decomposition U = P S Q^T, by five steps of a
Newton-Schulz iteration. Weights of convolutions (O, I, k, k) are matrices (O, I k k).

Source: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
kellerjordan.github.io/posts/muon. By his advice the first and the last layer, embeddings and whatever is no
matrix are trained by AdamW, with a rate of its own.

Departures: the iteration computes in float32, where the author, and torch.optim.Muon, which takes no
convolutions, use bfloat16 for the speed of GPUs. Latent weights of binary layers are trained by AdamW.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from concord.errors import UsageError
from concord.training.contract import undecayed
from concord.training.optim import Decay, fused, groups_of

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5
SMALLEST = 1e-7  # norm that is divided by
NO_MATRICES = (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm)  # whose weights may have two dimensions


def orthogonalised(matrix: Tensor, steps: int = STEPS) -> Tensor:
    """Each singular value s of X_0 = matrix / ||matrix|| becomes p(p(...p(s))), p(s) = a s + b s^3 + c s^5.

        X_n+1 = a X_n + (b A + c A^2) X_n        A = X_n X_n^T        a, b, c = 3.4445, -4.7750, 2.0315

    Five steps bring those from 0.01 to 1 between 0.67 and 1.21; singular vectors stay as they are.

    Shape: (O, I) -> (O, I)
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix / matrix.norm().clamp(min=SMALLEST)
    x = x.T if tall else x  # the smaller A
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def hidden_matrices(member: nn.Module) -> list[nn.Parameter]:
    """Weights of two or more dimensions between the first and the last of them, in the order of the modules.

    Embeddings, normalisation, biases, and what a module names as ``undecayed`` are not among them.
    """
    spared = {id(p) for p in undecayed(member)}
    matrices = [
        (module, name, p)
        for module in member.modules()
        for name, p in module.named_parameters(recurse=False)
        if p.ndim >= 2 and "bias" not in name
    ]
    return [
        p
        for module, _, p in matrices[1:-1]
        if not isinstance(module, NO_MATRICES) and p.is_floating_point() and id(p) not in spared
    ]


@dataclass(frozen=True)
class Muon:
    """Muon for hidden matrices and AdamW, at the rate ``adam_lr``, for all else; call it with the members.

    UsageError if no member has a hidden matrix.
    """

    lr: float = 0.02
    momentum: float = 0.95
    nesterov: bool = True
    weight_decay: float = 0.01
    decay: Decay = "kernels"
    adam_lr: float = 0.5**10
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __call__(self, members: Mapping[str, nn.Module]) -> torch.optim.Optimizer:
        hidden = {id(p) for member in members.values() for p in hidden_matrices(member)}
        if not hidden:
            raise UsageError(
                "Muon trains the weights between the first and the last layer, and these members have none:"
                f" {', '.join(members)}. Choose another optimizer, such as AdamW"
            )
        groups = [
            group | {"params": [p for p in group["params"] if (id(p) in hidden) is orthogonal]} | options
            for group in groups_of(members, self.weight_decay, self.decay)
            for orthogonal, options in ((True, self._orthogonal()), (False, self._adam()))
        ]
        return OrthogonalMomentum([g for g in groups if g["params"]], fused=fused(members))

    def _orthogonal(self) -> dict[str, Any]:
        return {"orthogonal": True, "lr": self.lr, "momentum": self.momentum, "nesterov": self.nesterov}

    def _adam(self) -> dict[str, Any]:
        rate = {"lr": self.adam_lr, "factor": self.adam_lr / self.lr}  # of the rate that a schedule gives
        return {"orthogonal": False, "betas": self.betas, "eps": self.eps, **rate}


class OrthogonalMomentum(torch.optim.AdamW):
    """AdamW, but for groups that are ``orthogonal``, whose steps are those of Muon."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = self.param_groups
        for group in (group for group in groups if group["orthogonal"]):
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._turn(parameter, parameter.grad, group)
        self.param_groups = [group for group in groups if not group["orthogonal"]]
        try:
            super().step()
        finally:
            self.param_groups = groups
        return loss

    def _turn(self, parameter: nn.Parameter, gradient: Tensor, group: Mapping[str, Any]) -> None:
        """One step of Muon for one parameter of two or more dimensions."""
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        momentum = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
        matrix = ahead.flatten(1).float()
        scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
        turned = orthogonalised(matrix).to(parameter.dtype).reshape(parameter.shape)
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(turned, alpha=-group["lr"] * scale)
