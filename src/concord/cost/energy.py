"""How much energy one sample takes: an estimate, for comparing networks and not for batteries.

    E = 4.6 pJ MACs + 0.9 pJ others + DRAM (parameters + buffers + 2 activations)

with 32-bit floats, in binary layers too (a product 3.7 pJ, a sum 0.9 pJ), and 0.65 to 1.3 nJ for each number
that is fetched from or written to DRAM. Every weight is read once and every activation written and read once,
as if no cache held anything: real hardware does better on small maps and worse on large ones.

Source: M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014, figure 1.1.9: 45
nm, 0.9 V; DRAM 1.3 to 2.6 nJ for 64 bits.
"""

from concord.cost.record import Cost

PRODUCT, SUM = 3.7e-12, 0.9e-12  # joules
DRAM = (0.65e-9, 1.3e-9)  # joules for 32 bits, from and to


def energy(cost: Cost) -> tuple[float, float]:
    """Joules for one pass, from the cheaper to the dearer end of the table."""
    arithmetic = cost.macs * (PRODUCT + SUM) + cost.other_operations * SUM
    moved = cost.parameters + cost.buffers + 2 * cost.activations
    low, high = (arithmetic + moved * each for each in DRAM)
    return low, high
