"""Convolutions and poolings worked out by hand, as data."""

from dataclasses import fields, is_dataclass
from fractions import Fraction

from concord.plain.grids import shape
from concord.plain.worked_convolution import Convolved
from concord.plain.worked_pooling import Pooled
from concord.plain.worked_separable import Separable
from concord.plain.worked_transposed import Transposed
from concord.report.cost_separable import Two

Worked = Convolved | Transposed | Pooled | Separable


def arithmetic_document(worked: Worked) -> dict[str, object]:
    """The same as data: the fields of the record; of a separable convolution the costs, of a transposed one
    the sums that check it."""
    document = {field.name: _as_data(getattr(worked, field.name)) for field in fields(worked)}
    if isinstance(worked, Transposed):
        document["sums"] = _as_data(worked.sums)
    if isinstance(worked, Separable):
        two = cost_of_steps(worked)
        (parameters, macs), n, area = two.in_one, two.letters["N"], two.letters["K"] ** 2
        document["cost"] = {"parameters": two.parameters, "macs": two.macs}
        document["cost_in_one"] = {"parameters": parameters, "macs": macs}
        document["ratio"] = float(Fraction(1, n) + Fraction(1, area))
    return document


def _as_data(value: object) -> object:
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else float(value)
    if isinstance(value, tuple):
        return [_as_data(each) for each in value]
    if is_dataclass(value):
        return {field.name: _as_data(getattr(value, field.name)) for field in fields(value)}
    return value


def cost_of_steps(s: Separable) -> Two:
    """What M kernels and N rows of weights cost, for the map that they gave."""
    first = s.depthwise[0]
    (height, width), (side, _) = shape(first.output), shape(first.kernel)
    sizes = {"B": 1, "M": len(s.depthwise), "N": len(s.weights), "K": side, "H": height, "W": width}
    return Two(sizes, 2, (False, False))
