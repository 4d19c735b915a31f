"""Costs between the logits of two members.

Source: J. Noel, "A collaborative approach to deep learning", 2017, sections 2.0.1 and 5.2 (sce, l2, l1);
Y. Zhang, T. Xiang, T. Hospedales, H. Lu, "Deep mutual learning", CVPR 2018, section 3 (kl);
G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", 2015, section 2 (the factor
T^2).

Every cost maps (own, peer), two batches of logits (B, K), to one number per sample (B,): the sum over
classes. Averaging over the batch is the caller's business, so ``kl`` is PyTorch's ``batchmean``, never its
``mean``, which divides by the number of classes too. Which side receives gradient is decided per edge
(``edges``); only ``sce_tf1`` holds its targets constant by itself, because that is what it is.

Departure: the first printed formula of the source has f1 ln f1 as its second term, a misprint; here f2 ln f1,
as its section 5.2 has it.
"""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from concord.consensus.names import nearest_cost
from concord.errors import UsageError

PairCost = Callable[[Tensor, Tensor], Tensor]


def sce(own: Tensor, peer: Tensor) -> Tensor:
    """-sum_k (p_k ln q_k + q_k ln p_k) with p = softmax(own), q = softmax(peer).

    At p = q it is twice the entropy of p, not zero. Gradient on own: (p - q)_k - p_k (ln q_k - sum_m p_m ln
    q_m).

    Shape: (B, K), (B, K) -> (B,)
    """
    log_p, log_q = F.log_softmax(own, -1), F.log_softmax(peer, -1)
    return -(log_p.exp() * log_q + log_q.exp() * log_p).sum(-1)


def sce_tf1(own: Tensor, peer: Tensor) -> Tensor:
    """The value of ``sce`` with the probabilities that act as targets held constant.

    This is what the runs of Noel 2017 optimised: TensorFlow 1's softmax_cross_entropy_with_logits does not
    back-propagate into its labels. Gradient on own: p - q, the same as that of KL(q || p) with q constant.

    Shape: (B, K), (B, K) -> (B,)
    """
    log_p, log_q = F.log_softmax(own, -1), F.log_softmax(peer, -1)
    return -(log_p.exp().detach() * log_q + log_q.exp().detach() * log_p).sum(-1)


def kl(own: Tensor, peer: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 sum_k q_k (ln q_k - ln p_k) with p = softmax(own / T), q = softmax(peer / T); 0 at p = q.

    Gradient on own: T (p - q). Shape: (B, K), (B, K) -> (B,)
    """
    log_p, log_q = F.log_softmax(own / temperature, -1), F.log_softmax(peer / temperature, -1)
    return temperature**2 * (log_q.exp() * (log_q - log_p)).sum(-1)


def l2(own: Tensor, peer: Tensor) -> Tensor:
    """sum_k (own_k - peer_k)^2 over the logits.

    Gradient on own: 2 (own - peer). Shape: (B, K), (B, K) -> (B,)
    """
    return (own - peer).square().sum(-1)


def l1(own: Tensor, peer: Tensor) -> Tensor:
    """sum_k |own_k - peer_k| over the logits.

    Gradient on own: sign(own - peer). Shape: (B, K), (B, K) -> (B,)
    """
    return (own - peer).abs().sum(-1)


COSTS: dict[str, PairCost] = {"sce": sce, "sce_tf1": sce_tf1, "kl": kl, "l2": l2, "l1": l1}


def pair_cost(name: str, temperature: float = 1.0) -> PairCost:
    """The cost of that name; UsageError if there is none or if it takes no such temperature."""
    if name not in COSTS:
        raise UsageError(f"no cost {name!r}{nearest_cost(name)}; there are: {', '.join(COSTS)}")
    if temperature == 1.0:
        return COSTS[name]
    if name != "kl":
        raise UsageError(f"a temperature (here {temperature:g}) belongs to kl, not to {name}")
    if not 0 < temperature < float("inf"):
        raise UsageError(f"a temperature must be positive and finite, got {temperature:g}")
    return partial(kl, temperature=temperature)
