"""Batch ensembles: members that share their kernels but for a rank-one factor each.

Source: Y. Wen, D. Tran, J. Ba, "BatchEnsemble: An Alternative Approach to Efficient Ensemble and Lifelong
Learning", ICLR 2020, arXiv:2002.06715, sections 3 and 4.

Departures from the paper:
  * In training every member sees the whole batch, which is repeated, where the paper deals parts of one M
    times as large; both give a member as many samples.
  * Biases are those of each member. Batch normalisation is shared, one of the two forms that residual
    networks have in google/uncertainty-baselines (``use_ensemble_bn``).
"""

from copy import deepcopy

from torch import nn

from concord.errors import UsageError
from concord.layers.members import LINEAR, RankOne
from concord.zoo.ensembles.inner import InnerEnsemble, replaced
from concord.zoo.ensembles.names import MEMBERS, MOST


def batch_ensemble(network: nn.Module, members: int = MEMBERS) -> InnerEnsemble:
    """A network in which ``members`` inner members share the weights of ``network``, which is copied.

        W_m = W * (s_m r_m^T)        of every dense layer and convolution

    Layers of other kinds are shared as they are. With C_in inputs and C_out outputs a layer grows by
    M C_in + M C_out parameters, and (M - 1) C_out of its biases.

    Raises UsageError for a network without a dense layer or convolution of torch.nn. The parameters of such
    layers may not be read by other modules.

    Shape: (B, ...) -> (B, K) in evaluation
    """
    if not 1 <= members <= MOST:
        raise UsageError(f"a batch ensemble has at least 1 and at most {MOST} members, got {members}")
    copy = deepcopy(network)
    if not any(type(module) in LINEAR for module in copy.modules()):
        raise UsageError(
            f"{type(network).__name__} has no dense layer or convolution of torch.nn, of which a batch "
            "ensemble could be made"
        )

    def made(path: str, module: nn.Module) -> nn.Module | None:
        return RankOne(module, members) if type(module) in LINEAR else None

    return InnerEnsemble(replaced(copy, made), members)
