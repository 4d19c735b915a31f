"""How the loss of each sample changes with its own image, and the two losses that attacks climb.

An attack knows no network and no task: it is given ``loss``, which gives one number per image of a batch, and
it looks for images near the given ones at which that number is larger.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.errors import ShapeError, UsageError

Loss = Callable[[Tensor], Tensor]  # (B, ...) -> (B,)
Classifier = Callable[[Tensor], Tensor]  # (B, C, H, W) -> (B, K) logits
Size = float | Tensor  # a tensor broadcasts against the images, for example (1, C, 1, 1)


def gradient(loss: Loss, images: Tensor) -> Tensor:
    """d loss(x)_b / d x_b for each sample b; nobody's parameters get a gradient from it.

    Zero where no path leads from the images to the loss. Raises ShapeError unless the loss gives one number
    per image.

    Shape: (B, ...) -> (B, ...)
    """
    x = images.detach().requires_grad_()
    with torch.enable_grad():
        values = loss(x)
        if values.shape != (len(images),):
            expected, given = f"({len(images)},)", tuple(values.shape)
            raise ShapeError(f"a loss must give one number per image, {expected}, got {given}")
        if not values.requires_grad:
            return torch.zeros_like(images)
        (found,) = torch.autograd.grad(values.sum(), x, allow_unused=True, materialize_grads=True)
    return found


def stuck(loss: Loss, images: Tensor) -> Tensor:
    """Whether the gradient of a sample is exactly zero, so that it cannot be attacked by its gradient.

    That says nothing about robustness: the network may be saturated, or not differentiable.

    Shape: (B, ...) -> (B,) bool
    """
    return (gradient(loss, images) == 0).flatten(1).all(1)


def away(classifier: Classifier, labels: Tensor) -> Loss:
    """-ln softmax(f(x))[label], which an attack climbs so that the label is left. Shape: labels (B,)"""
    return lambda x: F.cross_entropy(classifier(x).float(), labels, reduction="none")


def toward(classifier: Classifier, labels: Tensor) -> Loss:
    """ln softmax(f(x))[label], which an attack climbs to reach the label. Shape: labels (B,)"""
    return lambda x: -F.cross_entropy(classifier(x).float(), labels, reduction="none")


def check_size(name: str, size: Size) -> None:
    """UsageError unless the size is a finite number of at least 0, or a tensor of such."""
    values = torch.as_tensor(size)
    if not (values.isfinite() & (values >= 0)).all():
        raise UsageError(f"{name} must be finite and at least 0, got {size}")
