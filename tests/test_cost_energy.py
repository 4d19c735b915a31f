"""The estimate, from the table that it names."""

import pytest
from torch import nn

from concord.cost.count import count
from concord.cost.energy import energy


def test_energy_by_hand():
    # 3·2 products of 4.6 pJ and 2 biases of 0.9 pJ; 8 weights and 2 x 2 activations of 0.65 or 1.3 nJ
    arithmetic = 6 * 4.6e-12 + 2 * 0.9e-12
    low, high = energy(count(nn.Linear(3, 2), (3,)))
    assert low == pytest.approx(arithmetic + 12 * 0.65e-9)
    assert high == pytest.approx(arithmetic + 12 * 1.3e-9)
