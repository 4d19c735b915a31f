"""A penalty that keeps gradients from vanishing and exploding on their way back through an Elman network.

Source: R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural networks",
ICML 2013, arXiv:1211.5063, section 3.3, equation 9, and the published code of the authors (RNN.py).
"""

from typing import Literal

import torch
from torch import Tensor

from concord.errors import ShapeError, UsageError
from concord.layers.recurrent.rnn import RNN

LEAST = 1e-20  # squared norm below which a gradient says nothing


def omega(cell: RNN, h: Tensor, gradients: Tensor, form: Literal["paper", "released"] = "paper") -> Tensor:
    """Omega, of which only the recurrent weights of the cell receive a gradient.

        r_k = |dL/dh_{k+1} dh_{k+1}/dh_k| / |dL/dh_{k+1}|,  dh_{k+1}/dh_k = diag(f'(z_{k+1})) W_h
        paper:    Omega = mean over samples of sum_k (r_k - 1)^2                       (equation 9)
        released: Omega = sum_k mean over samples of (r_k^2 - 1)^2, over the sum of the shares of samples
                  whose gradient is not 0, which alone are counted

    States and gradients are held constant, as in the paper: only the immediate derivative with respect to W_h
    counts. The paper weighs Omega with 4, the code with 2.

    Shape: h (T + 1, B, H) and gradients (T + 1, B, H) as ``state_gradients`` gives them -> ()

    Raises ShapeError where these differ in shape, UsageError for another form.
    """
    if h.shape != gradients.shape or h.ndim != 3:
        given = f"{tuple(h.shape)} and {tuple(gradients.shape)}"
        raise ShapeError(f"expected states and gradients (T + 1, B, H), got {given}")
    if form not in ("paper", "released"):
        raise UsageError(f"Omega is that of the paper or as released, got {form!r}")
    later, d = h[1:].detach(), gradients[1:].detach()
    slope = 1 - later**2 if cell.activation == "tanh" else (later > 0).to(later.dtype)
    carried = (d * slope) @ cell.weight_h  # (T, B, H)
    whole = (d**2).sum(2)
    counted = whole > LEAST
    square = (carried**2).sum(2) / torch.where(counted, whole, 1)
    if form == "paper":
        ratio = torch.where(counted, square.clamp(min=LEAST).sqrt(), 1)
        return ((ratio - 1) ** 2).sum(0).mean()
    ratio = torch.where(counted, square, 1)
    share = counted.to(h.dtype).mean(1).sum().clamp(min=1 / h.shape[1])
    return ((ratio - 1) ** 2).mean(1).sum() / share
