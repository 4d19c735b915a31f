"""Projected gradient descent: many small steps, each followed by the way back into the ball.

Source: A. Madry, A. Makelov, L. Schmidt, D. Tsipras, A. Vladu, "Towards deep learning models resistant to
adversarial attacks", 2017, arXiv:1706.06083, section 2.1.

Departures from the paper:
  * The range of the images is part of what is projected on: first each number is clipped to it, then the
    change is shrunk into the ball, which cannot leave the range again.
  * One start, not the best of several; the result is that of the last step, not of the best one.
"""

import torch
from torch import Tensor

from concord.attack.gradient import Loss, Size, check_size, gradient
from concord.attack.norms import NORMS, Norm, within
from concord.errors import UsageError


def pgd(
    loss: Loss,
    images: Tensor,
    eps: Size,
    *,
    steps: int,
    step_size: Size,
    norm: Norm = NORMS["linf"],
    generator: torch.Generator | None = None,
    low: Size = 0.0,
    high: Size = 1.0,
) -> Tensor:
    """x <- P(x + step_size v) for so many steps, where v is the direction of length 1 that climbs most.

    P is the projection on the ball of radius eps around the images, and on low to high. With a generator it
    begins at a random place of the ball, without one at the images. A sample whose gradient is nowhere a
    finite number other than 0 makes no step. Where eps is a tensor, ``step_size`` is one in the same
    proportions. Raises UsageError for sizes that are negative or no numbers, and for a number of steps below
    1.

    Shape: (B, C, H, W) -> (B, C, H, W)
    """
    check_size("eps", eps)
    check_size("step_size", step_size)
    if steps < 1:
        raise UsageError(f"an attack in steps needs at least one, got {steps}")
    x = images = images.detach()
    if generator is not None:
        x = (images + norm.draw(images, eps, generator)).clamp(min=low).clamp(max=high)
    for _ in range(steps):
        x = x + step_size * norm.steepest(gradient(loss, x), eps)
        change = norm.project(x.clamp(min=low).clamp(max=high) - images, eps)
        x = (images + change).clamp(min=low).clamp(max=high)  # against rounding
    return within(images, x, eps, norm)
