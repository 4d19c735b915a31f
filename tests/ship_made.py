"""Searches that take seconds: digits, two families, an epoch or two, and a machine of known speed."""

from contextlib import contextmanager

import pytest

from concord.shipping import budget, candidates, entrants, plan, search
from concord.shipping.families import FAMILIES
from concord.shipping.pace import Pace

KEPT = ("noel2017_st", "preact_resnet20")
PACE = Pace(update=5.0, image=0.01, save=0.5, start=0.0)


@contextmanager
def quick():
    """Every network is said to train at one pace, so that the plan does not depend on this machine.

    A full run has two epochs, a short one has one; the classifier of scikit-learn has about a second.
    """
    with pytest.MonkeyPatch.context() as patch:
        few = tuple(family for family in FAMILIES if family.name in KEPT)
        patch.setattr(candidates.Shop.__init__, "__defaults__", (few,))
        patch.setattr(entrants, "_threads", lambda candidate, material: 1)
        for module in (entrants, plan):
            patch.setattr(module, "measured", lambda config, material: PACE)
        patch.setattr(search, "BASELINE", 1 / 3600)
        for name, epochs in {"LEAST": 1, "SHORT": 1, "ENOUGH": 1, "FULL": 2}.items():
            patch.setattr(budget, name, epochs)
        yield
