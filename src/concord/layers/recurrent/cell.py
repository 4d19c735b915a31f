"""What a recurrent cell is: three methods, between which ``scan`` runs over time."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from concord.layers.recurrent.exported import Operator, exported
from concord.layers.recurrent.scan import State, scan


class Cell(nn.Module):
    """One layer of a recurrent network in one direction.

    ``project`` does for all steps at once what does not wait for the state: (T, B, D) -> (T, B, G).
    ``step`` does the rest for one step: (B, G) and the state before -> the state after.
    ``initial`` gives the first state for ``batch`` samples; ``sides`` are the height and width of maps.
    ``at_once`` gives what ``scan`` gives, faster; None where it cannot.
    ``as_onnx`` is the cell as an operator of ONNX; None where ONNX lacks it.

    Called, it runs over time. Shape: (T, B, D) -> (T, B, H) and the last state
    """

    @abstractmethod
    def project(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def step(self, projected: Tensor, state: State) -> State: ...

    @abstractmethod
    def initial(self, batch: int, *sides: int) -> State: ...

    def at_once(self, x: Tensor, state: State, lengths: Tensor | None) -> tuple[Tensor, State] | None:
        return None

    def equations(self) -> tuple[str, ...]:
        """What a step computes with the options of this cell, see ``equations``; () where it does not say."""
        return ()

    def as_onnx(self) -> Operator | None:
        return None

    def forward(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        state = self.initial(x.shape[1], *x.shape[3:]) if state is None else state
        if torch.compiler.is_exporting():
            return exported(self, x, state, lengths)
        if x.ndim == 3 and not x.is_meta and not torch.is_autocast_enabled(x.device.type):
            return self.at_once(x, state, lengths) or scan(self, x, state, lengths)
        return scan(self, x, state, lengths)
