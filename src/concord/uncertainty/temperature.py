"""Temperature scaling: one number that makes the confidence of a classifier match its accuracy.

Source: C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On calibration of modern neural networks", ICML 2017,
section 4.2.
"""

from torch import Tensor

from concord.errors import ShapeError

MOST = 2.0**40  # of 1 / T; beyond it logits of float32 differ by rounding alone


def temperature(logits: Tensor, labels: Tensor) -> float | None:
    """The T > 0 that minimises mean_n -ln softmax(z_n / T)[y_n]; None where no such T exists.

    The mean is convex in b = 1 / T. Its derivative mean_n (sum_k p_nk z_nk - z_n,y), p = softmax(b z), rises
    with b, so its root is the one minimum, here to 12 digits. There is none where every label is the
    likeliest (b grows without end) and where the true logits are on average not above the mean logits, as of
    guesses (b = 0 is best).

    Logits that are not finite, as of a class that a network rules out, have none either.

    Shape: (N, K), (N,). Raises ShapeError for other shapes and for no samples.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ShapeError(f"expected (N, K) and (N,), N >= 1, got {(*logits.shape,)} and {(*labels.shape,)}")
    if not logits.isfinite().all():
        return None
    from scipy.optimize import brentq  # half a second that predictions need not wait for

    z = logits.double()
    z = z - z.max(-1, keepdim=True).values
    true = z.gather(1, labels[:, None]).squeeze(1)

    def slope(b: float) -> float:
        return ((z * (b * z).softmax(-1)).sum(-1) - true).mean().item()

    upper = 1.0
    while slope(upper) <= 0 and upper < MOST:
        upper *= 2
    if slope(0.0) >= 0 or slope(upper) <= 0:
        return None
    return 1 / float(brentq(slope, 0.0, upper, xtol=1e-300, rtol=1e-12))
