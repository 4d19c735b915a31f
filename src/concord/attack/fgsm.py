"""The fast gradient sign method.

Source: I. J. Goodfellow, J. Shlens, C. Szegedy, "Explaining and harnessing adversarial examples", 2014,
arXiv:1412.6572, section 4.

Departures from the paper:
  * The result is clipped to the range that images have.
  * The gradient is that of the sum of the losses of a batch; the paper's mean has the same sign.
  * A pixel whose derivative is not a finite number stays as it is, as one of derivative 0 does.

Through the sign of a binary layer the gradient is a pseudo-gradient, that of its straight-through
estimator: the attack's success against such networks underestimates what is possible.
"""

from torch import Tensor

from concord.attack.gradient import Loss, Size, check_size, gradient, told


def fgsm(loss: Loss, images: Tensor, eps: Size, *, low: Size = 0.0, high: Size = 1.0) -> Tensor:
    """x' = clip(x + eps sign(d loss / d x), low, high), with sign(0) = 0.

    It climbs the loss: give ``gradient.away`` to leave a label, ``gradient.toward`` to reach one. Raises
    UsageError for an eps below 0 or no number, ShapeError for a loss that is not one number per image.

    Shape: (B, C, H, W) -> (B, C, H, W)
    """
    check_size("eps", eps)
    changed = images.detach() + eps * told(gradient(loss, images)).sign()
    return changed.clamp(min=low).clamp(max=high)
