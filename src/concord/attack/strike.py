"""One attack on one network over a data set: what it and other networks then say."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from concord.attack.gradient import Classifier, Loss, away, stuck, toward

Attack = Callable[[Loss, Tensor], Tensor]  # (loss, images) -> images of the same shape
Samples = Iterable[tuple[Tensor, Tensor]]  # images (B, C, H, W) as they are attacked, labels (B,)
SHOWN = 6
NO_ANSWER = -1  # the vote of a network whose output is not a number


@dataclass(frozen=True)
class Examples:
    """Images that the attacked network was right about and then was not, the surest ones first."""

    images: Tensor  # (n, C, H, W)
    changed: Tensor  # (n, C, H, W)
    labels: Tensor  # (n,)
    before: Tensor  # (n,) confidence of the right answer
    votes: Tensor  # (n,) the answer after the attack
    after: Tensor  # (n,) its confidence

    def __len__(self) -> int:
        return len(self.labels)

    def beside(self, other: "Examples") -> "Examples":
        """The best of both: those with the largest sum of the confidences before and after."""
        both = Examples(*(torch.cat([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))
        order = (both.before + both.after).argsort(descending=True, stable=True)[:SHOWN]
        return both.at(order)

    def at(self, index: Tensor) -> "Examples":
        return Examples(*(getattr(self, f.name)[index] for f in fields(self)))


@dataclass(frozen=True)
class Struck:
    """What every network says of the changed images, in the order of the networks."""

    votes: Tensor  # (C, N), NO_ANSWER among them
    confidences: Tensor  # (C, N)
    examples: Examples


def strike(
    networks: Mapping[str, Classifier],
    attacked: str,
    samples: Samples,
    attack: Attack,
    target: int | None = None,
) -> Struck:
    """Attack one network on all samples and ask all networks; with a target the attack is for that class.

    Nobody's parameters get a gradient. All results lie on the CPU.
    """
    votes, confidences = [], []
    examples: Examples | None = None
    victim = networks[attacked]
    for x, labels in samples:
        changed = attack(_loss(victim, labels, target), x)
        answered = [answers(network, changed) for network in networks.values()]
        votes.append(torch.stack([vote for vote, _ in answered]))
        confidences.append(torch.stack([sure for _, sure in answered]))
        own = answered[list(networks).index(attacked)]
        won = (own[0] != labels.cpu()) & (own[0] != NO_ANSWER)
        if target is not None:
            won &= own[0] == target
        found = _examples(x.cpu(), changed.cpu(), labels.cpu(), answers(victim, x), own, won)
        examples = found if examples is None else examples.beside(found)
    assert examples is not None, "no samples"
    return Struck(torch.cat(votes, 1), torch.cat(confidences, 1), examples)


def stuck_samples(network: Classifier, samples: Samples, target: int | None = None) -> Tensor:
    """Which samples no gradient can attack, see ``gradient.stuck``. Shape: -> (N,) bool"""
    return torch.cat([stuck(_loss(network, labels, target), x).cpu() for x, labels in samples])


@torch.no_grad()
def margins(network: Classifier, samples: Samples) -> Tensor:
    """Logit of the label minus the largest other one, in nats. Shape: -> (N,) float64"""
    found = []
    for x, labels in samples:
        logits, chosen = network(x.clone()).double(), labels.unsqueeze(1)
        others = logits.scatter(1, chosen, -torch.inf).amax(1)
        found.append((logits.gather(1, chosen).squeeze(1) - others).cpu())
    return torch.cat(found)


def untouched(networks: Mapping[str, Classifier], samples: Samples) -> tuple[Tensor, Tensor]:
    """Classes and confidences of all networks without any attack. Shape: -> (C, N), (C, N)"""
    answered = [[answers(network, x) for network in networks.values()] for x, _ in samples]
    votes, confidences = ([torch.stack([one[k] for one in batch]) for batch in answered] for k in (0, 1))
    return torch.cat(votes, 1), torch.cat(confidences, 1)


def _loss(network: Classifier, labels: Tensor, target: int | None) -> Loss:
    if target is None:
        return away(network, labels)
    return toward(network, torch.full_like(labels, target))


@torch.no_grad()
def answers(network: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Class and its probability, on the CPU; NO_ANSWER and 0 where a logit is not a finite number.

    The network gets a copy, which it may change in place. Shape: (B, C, H, W) -> (B,), (B,)
    """
    confidence, vote = network(images.clone()).float().softmax(-1).max(-1)
    silent = confidence.isnan()
    return vote.masked_fill(silent, NO_ANSWER).cpu(), confidence.masked_fill(silent, 0).cpu()


def _examples(
    x: Tensor,
    changed: Tensor,
    labels: Tensor,
    before: tuple[Tensor, Tensor],
    after: tuple[Tensor, Tensor],
    won: Tensor,
) -> Examples:
    everyone = Examples(x, changed, labels, before[1], *after)
    chosen = everyone.at((before[0] == labels) & won)
    return chosen.beside(chosen.at(torch.empty(0, dtype=torch.int64)))
