"""How the loss of each sample changes with its own image, and the two losses that attacks climb.

An attack knows no network and no task: it is given ``loss``, which gives one number per image of a batch, and
it looks for images near the given ones at which that number is larger.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from concord.errors import ShapeError, UsageError, said

Loss = Callable[[Tensor], Tensor]  # (B, ...) -> (B,)
Classifier = Callable[[Tensor], Tensor]  # (B, C, H, W) -> (B, K) logits
Size = float | Tensor  # a tensor broadcasts against the images, for example (1, C, 1, 1)


def gradient(loss: Loss, images: Tensor) -> Tensor:
    """d (sum_b loss(x)_b) / d x; nobody's parameters get a gradient from it.

    Where samples do not see each other this is d loss(x)_b / d x_b for each sample b. Batch normalisation in
    training mode shows them to each other: the change of one image then counts in the losses of all. Zero
    where no path leads from the images to the loss; where the chain rule ends in 0 times infinity it is not a
    number, see ``told``. The loss may change what it is given in place. Raises ShapeError unless the loss
    gives one number per image, BackwardError where a network refuses its backward pass.

    Shape: (B, ...) -> (B, ...)
    """
    x = images.detach().requires_grad_()
    with torch.enable_grad():
        values = loss(x.clone())
        if values.shape != (len(images),):
            expected, given = f"({len(images)},)", tuple(values.shape)
            raise ShapeError(f"a loss must give one number per image, {expected}, got {given}")
        if not values.requires_grad:
            return torch.zeros_like(images)
        return _backward(values.sum(), x)


class BackwardError(UsageError):
    """A network refuses the backward pass from its loss to its input."""


@contextmanager
def attacking(name: str) -> Iterator[None]:
    """Name the network whose gradient is refused in here: UsageError."""
    try:
        yield
    except BackwardError as error:
        raise UsageError(f"{name!r} cannot be attacked by gradient: {error}") from error


def _backward(total: Tensor, x: Tensor) -> Tensor:
    """d total / d x, and 0 where no path leads from one to the other; the end of memory stays what it is."""
    try:
        (found,) = torch.autograd.grad(total, x, allow_unused=True, materialize_grads=True)
    except (Exception, SystemExit) as error:  # a network may have backward passes of its own
        reason = said(error)
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in reason:
            raise
        cure = "; use torch.utils.checkpoint with use_reentrant=False" if "Checkpointing" in reason else ""
        raise BackwardError(f"its backward pass failed, {reason}{cure}") from error
    return found


def told(found: Tensor) -> Tensor:
    """The gradient with 0 in place of what is not finite: such an entry names no direction. Same shape."""
    return found.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def stuck(loss: Loss, images: Tensor) -> Tensor:
    """Whether every entry of a sample's gradient is zero or not finite: its gradient cannot move it.

    That says nothing about robustness: the network may be saturated, or not differentiable.

    Shape: (B, ...) -> (B,) bool
    """
    return (told(gradient(loss, images)) == 0).flatten(1).all(1)


def away(classifier: Classifier, labels: Tensor) -> Loss:
    """-ln softmax(f(x))[label], which an attack climbs so that the label is left. Shape: labels (B,)"""
    return lambda x: _cross_entropy(classifier(x), labels)


def toward(classifier: Classifier, labels: Tensor) -> Loss:
    """ln softmax(f(x))[label], which an attack climbs to reach the label. Shape: labels (B,)"""
    return lambda x: -_cross_entropy(classifier(x), labels)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """ln(1 + exp(d)) with d = ln(sum of e^z over the other classes) - z_label, in float64.

    The usual form has -(1 - p_label) as its gradient by the logit of the label. Once p_label rounds to 1
    (16.6 nats ahead in float32, 36.7 in float64) that term is lost while those of the other logits stay, and
    the gradient points elsewhere. Here it is -sigmoid(d), which no margin rounds away before it underflows.

    Shape: (B, K), (B,) -> (B,)
    """
    logits, chosen = logits.double(), labels.unsqueeze(1)
    others = logits.scatter(1, chosen, -torch.inf).logsumexp(1)
    return F.softplus(others - logits.gather(1, chosen).squeeze(1), threshold=60)


def check_size(name: str, size: Size) -> None:
    """UsageError unless the size is a finite number of at least 0, or a tensor of such."""
    values = torch.as_tensor(size)
    if not (values.isfinite() & (values >= 0)).all():
        raise UsageError(f"{name} must be finite and at least 0, got {size}")
