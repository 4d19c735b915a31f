"""A small smooth network to attack, and the same one as the Adversarial Robustness Toolbox wants it."""

import torch
from torch import nn


def network(seed=0):
    """(B, 1, 4, 4) -> (B, 3)"""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)
        ).eval()


def images_and_labels(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, 4, 4, generator=generator)
    return images, torch.randint(3, (count,), generator=generator)


def by_art(net):
    from art.estimators.classification import PyTorchClassifier

    cost = nn.CrossEntropyLoss()
    return PyTorchClassifier(net, cost, (1, 4, 4), 3, clip_values=(0.0, 1.0), device_type="cpu")
