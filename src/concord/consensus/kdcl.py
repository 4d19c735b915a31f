"""One soft target that all members learn from, in place of costs between pairs.

Source: Q. Guo et al., "Online knowledge distillation via collaborative learning", CVPR 2020, section 3.2
(KDCL-Naive, -Linear, -MinLogit, -General); temperature 2 and weight 1 as there.

Departures: the paper was read in secondary sources. Linear is solved exactly per batch (SLSQP on the
simplex); General takes its weights from the validation split and so belongs to one epoch, see
``error_covariance``. Every target is made of detached logits and labels: only the learning member receives
gradient. The weight of member i is its incoming mass, sum_j weight[i][j], whichever peers the edges name.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.consensus.costs import kl
from concord.consensus.edges import Edges
from concord.consensus.objective import Consensus, check
from concord.errors import UsageError

Target = Callable[[Tensor, Tensor], Tensor]


def naive(logits: Tensor, labels: Tensor) -> Tensor:
    """Per sample the logits of the member with the lowest cross entropy. Shape: (M, B, K), (B,) -> (B, K)"""
    m, b, k = logits.shape
    cost = F.cross_entropy(logits.reshape(m * b, k), labels.repeat(m), reduction="none").view(m, b)
    return logits[cost.argmin(0), torch.arange(b, device=logits.device)]


def linear(logits: Tensor, labels: Tensor) -> Tensor:
    """sum_m w_m l_m with the convex weights w that minimise the batch's cross entropy.

    Shape: (M, B, K), (B,) -> (B, K)
    """
    return blend(logits, convex_weights(logits, labels))


def convex_weights(logits: Tensor, labels: Tensor) -> Tensor:
    """argmin over w >= 0, sum w = 1 of the mean cross entropy of sum_m w_m l_m: a convex problem.

    Shape: (M, B, K), (B,) -> (M,)
    """
    from scipy.optimize import minimize

    z, y = logits.detach().double().cpu(), labels.cpu()
    m, b, k = z.shape
    truth = F.one_hot(y, k)

    def value_and_slope(w: object) -> tuple[float, object]:
        mixed = blend(z, torch.tensor(w))
        slope = torch.einsum("mbk,bk->m", z, mixed.softmax(-1) - truth) / b
        return F.cross_entropy(mixed, y).item(), slope.numpy()

    found = minimize(
        value_and_slope,
        [1 / m] * m,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * m,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: w * 0 + 1},
        options={"ftol": 1e-10},
    )
    return torch.tensor(found.x, dtype=logits.dtype, device=logits.device)


def min_logit(logits: Tensor, labels: Tensor) -> Tensor:
    """min over members of l_m - l_m[label]: the label's entry is 0, every other the lowest margin.

    Shape: (M, B, K), (B,) -> (B, K)
    """
    own = logits.gather(-1, labels.expand(len(logits), -1).unsqueeze(-1))  # (M, B, 1)
    return (logits - own).amin(0)


def general(weights: Sequence[float]) -> Target:
    """sum_m w_m l_m with weights fixed beforehand, see ``variance_weights``.

    Shape: (M, B, K), (B,) -> (B, K)
    """

    def target(logits: Tensor, labels: Tensor) -> Tensor:
        return blend(logits, torch.tensor(list(weights), dtype=logits.dtype, device=logits.device))

    return target


def blend(logits: Tensor, weights: Tensor) -> Tensor:
    """sum_m w_m l_m. Shape: (M, B, K), (M,) -> (B, K)"""
    return torch.einsum("m,mbk->bk", weights, logits)


def error_covariance(logits: Tensor, labels: Tensor) -> Tensor:
    """R_ij = mean over samples of <p_i - y, p_j - y>, the second moment of errors.

    Shape: (M, N, K), (N,) -> (M, M)
    """
    errors = logits.double().softmax(-1) - F.one_hot(labels, logits.shape[-1])  # (M, N, K)
    return torch.einsum("ink,jnk->ij", errors, errors) / len(labels)


def variance_weights(covariance: Tensor) -> list[float]:
    """argmin of w' R w with sum w = 1: R^-1 1 / (1' R^-1 1). Weights may be negative.

    A small multiple of the mean diagonal keeps R invertible when two members always agree. Shape: (M, M) -> M
    """
    m = len(covariance)
    ridge = 1e-6 * covariance.diagonal().mean() * torch.eye(m, dtype=covariance.dtype)
    raw = torch.linalg.solve(covariance + ridge, torch.ones(m, dtype=covariance.dtype))
    return (raw / raw.sum()).tolist()


TARGETS: dict[str, Target] = {"kdcl_naive": naive, "kdcl_linear": linear, "kdcl_minlogit": min_logit}


def towards(target: Target, temperature: float = 2.0) -> Consensus:
    """sum_i mass_i T^2 KL(softmax(target / T) || softmax(l_i / T)), the target constant.

    Shape: M x (B, K) -> (B,)
    """

    def consensus(logits: Sequence[Tensor], labels: Tensor | None, edges: Edges) -> Tensor:
        check(logits, edges)
        if labels is None:
            raise UsageError("KDCL targets are made with labels, so unlabelled batches need another cost")
        named = labels if labels.ndim == 1 else labels.argmax(-1)  # of probabilities the likeliest class
        goal = target(torch.stack([x.detach() for x in logits]), named)
        learners = [(mass, own) for i, own in enumerate(logits) if (mass := edges.mass(i))]
        terms = [mass * kl(own, goal, temperature) for mass, own in learners]
        return torch.stack(terms).sum(0) if terms else logits[0].new_zeros(len(logits[0]))

    return consensus
