"""Equations of cells as text: W_i is W with the index i, h_{t-1} with a longer one.

Matrices and vectors stand side by side where they are multiplied, ∘ multiplies entry by entry, * convolves.
"""


def sum_of(gate: str, *, inputs: int, bias: bool, times: str = " ", peephole: str = "") -> str:
    """``W_i x_t + U_i h_{t-1} + b_i``: what the activation of a gate is applied to.

    A cell without inputs has no W; a peephole is a term of its own.
    """
    terms = [f"{of('W', gate)}{times}x_t"] if inputs else []
    terms.append(f"{of('U', gate)}{times}h_{{t-1}}")
    return " + ".join([*terms, *filter(None, [peephole]), *([of("b", gate)] if bias else [])])


def of(letter: str, gate: str) -> str:
    """``W_i``; of a cell without gates ``W``."""
    return f"{letter}_{gate}" if gate else letter
