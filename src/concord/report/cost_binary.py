"""What binary layers cost beside float ones, and what the paper predicts. Measured speed stands elsewhere."""

from concord.cost.record import Cost, Layer, Priced
from concord.cost.signs import FLOAT, Signs
from concord.report.tables import Entry, Table, entries
from concord.report.text import MISSING, whole

HEADER = ("layer", "type", "n", "bits", "memory ratio", "bit products", "predicted S")
NOTES = (
    "n: weights of one filter, c·N_W. memory ratio: 32·n/(n + 32) against float weights, 32 without scales.",
    "predicted S: 64·c·N_W/(c·N_W + 64), a count of operations (XNOR-Net, section 4.1) and not a time. "
    "For measured speed use: concord cost --measured, concord bench binary",
)
REAL_INPUTS = (
    "Layers without a predicted S have real inputs: they add and subtract floats, and their MACs stay MACs."
)


def binary_table(priced: Priced) -> Table:
    """A row for each binary layer; none for a float network."""
    layers = priced.cost.binary_layers
    rows = tuple(_row(layer, signs) for layer in layers if (signs := layer.one_call.signs) is not None)
    notes = (*NOTES, REAL_INPUTS) if any(not layer.binary_operations for layer in layers) else NOTES
    return Table(f"Binary layers of {priced.name}: bits, and predictions", HEADER, rows, 2, notes)


def _row(layer: Layer, signs: Signs) -> tuple[Entry, ...]:
    speed = signs.predicted_speed
    return entries(
        layer.path or "(network)",
        layer.type,
        whole(signs.each),
        bits_worked(layer, signs),
        f"{signs.memory_ratio:.2f}",
        whole(layer.binary_operations),
        MISSING if speed is None else f"{speed:.2f}",
    )


def bits_worked(layer: Layer, signs: Signs) -> str:
    """``36,864 + 32·64 = 38,912``: signs, and floats of 32 bits."""
    floats, left = divmod(layer.parameter_bits - signs.weights, FLOAT)
    if left or floats < 0 or not floats:  # weights that another row has counted, or signs alone
        return whole(layer.parameter_bits)
    return f"{whole(signs.weights)} + {FLOAT}·{whole(floats)} = {whole(layer.parameter_bits)}"


def binary_totals(cost: Cost) -> list[tuple[str, str]]:
    """Bits and bit products of the whole network; nothing for a float network."""
    if not cost.binary_layers:
        return []
    return [("bits", _bits(cost)), ("bit products", _products(cost))]


def binary_note(cost: Cost) -> str:
    """The same in one sentence."""
    return f"bits {_bits(cost)}; bit products {_products(cost)}."


def _bits(cost: Cost) -> str:
    total = cost.parameter_bits
    each, ratio = total / cost.parameters, FLOAT * cost.parameters / total
    return f"{total:,} of parameters, {each:.2f} for each: {ratio:.2f} times less than 32 for each"


def _products(cost: Cost) -> str:
    bits = cost.binary_operations
    return f"{bits:,} of the MACs; {cost.macs - bits:,} are products of floats"
