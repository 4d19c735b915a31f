"""Cells written once more in NumPy, from the equations of their papers, one step and one sample at a time."""

import numpy as np
import torch
from torch import nn

from concord.layers.recurrent.convlstm import ConvLSTM
from concord.layers.recurrent.gru import GRU
from concord.layers.recurrent.lstm import LSTM
from concord.layers.recurrent.rnn import RNN


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def rows(cell, name, blocks):
    """Blocks of rows of a weight or a bias; zeros where it is left out."""
    value = getattr(cell, name)
    hidden = cell.weight_h.shape[1]
    if value is None:
        return [np.zeros(hidden)] * blocks
    return np.split(value.detach().numpy(), blocks)


def rnn(cell, x, h):
    act = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0)}[cell.activation]
    (w,), (u,), (b,) = (rows(cell, name, 1) for name in ("weight_x", "weight_h", "bias"))
    for x_t in x:
        h = act(w @ x_t + u @ h + b)
        yield (h,)


def lstm(cell, x, h, c):
    coupled, blocks = cell.coupled, 3 if cell.coupled else 4
    names = "fgo" if coupled else "ifgo"
    w, u, b = (dict(zip(names, rows(cell, n, blocks), strict=True)) for n in ("weight_x", "weight_h", "bias"))
    p = {gate: np.zeros_like(u["g"]) for gate in names}
    if cell.peephole != "none":
        seen = [*rows(cell, "peephole_before", blocks - 2), *rows(cell, "peephole_after", 1)]
        shaped = [np.diag(block) if block.ndim == 1 else block for block in seen]
        p |= dict(zip("fo" if coupled else "ifo", shaped, strict=True))
    for x_t in x:
        f = sigmoid(w["f"] @ x_t + u["f"] @ h + p["f"] @ c + b["f"])
        i = 1 - f if coupled else sigmoid(w["i"] @ x_t + u["i"] @ h + p["i"] @ c + b["i"])
        g = np.tanh(w["g"] @ x_t + u["g"] @ h + b["g"])
        c = f * c + i * g
        o = sigmoid(w["o"] @ x_t + u["o"] @ h + p["o"] @ c + b["o"])
        h = o * np.tanh(c)
        yield h, c


def gru(cell, x, h):
    (w_r, w_z, w_n), (u_r, u_z, u_n), (b_r, b_z, b_n) = (
        rows(cell, name, 3) for name in ("weight_x", "weight_h", "bias")
    )
    (b_hn,) = rows(cell, "bias_hn", 1)
    for x_t in x:
        r, z = sigmoid(w_r @ x_t + u_r @ h + b_r), sigmoid(w_z @ x_t + u_z @ h + b_z)
        seen = u_n @ (r * h) if cell.reset == "before" else r * (u_n @ h + b_hn)
        n = np.tanh(w_n @ x_t + b_n + seen)
        h = z * h + (1 - z) * n if cell.update == "z_old" else (1 - z) * h + z * n
        yield (h,)


def convolved(x, kernels):
    """Same-padded cross-correlation. Shape: (C, H, W), (N, C, k, k) -> (N, H, W)"""
    _, height, width = x.shape
    side = kernels.shape[-1]
    padded = np.pad(x, [(0, 0), (side // 2, side // 2), (side // 2, side // 2)])
    out = np.zeros((len(kernels), height, width))
    for row in range(height):
        for column in range(width):
            window = padded[:, row : row + side, column : column + side]
            out[:, row, column] = (kernels * window).sum((1, 2, 3))
    return out


def convlstm(cell, x, h, c):
    w, u, b = (
        dict(zip("ifgo", np.split(getattr(cell, name).detach().numpy(), 4), strict=True))
        for name in ("weight_x", "weight_h", "bias")
    )
    p = np.zeros((3, 1, 1, 1)) if cell.peephole is None else cell.peephole.detach().numpy()
    for x_t in x:
        z = {k: convolved(x_t, w[k]) + convolved(h, u[k]) + b[k][:, None, None] for k in "ifgo"}
        i, f = sigmoid(z["i"] + p[0] * c), sigmoid(z["f"] + p[1] * c)
        c = f * c + i * np.tanh(z["g"])
        h = sigmoid(z["o"] + p[2] * c) * np.tanh(c)
        yield h, c


def over_time(step, cell, x, first):
    """The states of every sample behind each step. Shape: x (T, B, ...) -> for each state (T, B, ...)"""
    samples = []
    for b in range(x.shape[1]):
        states = step(cell, x[:, b].numpy(), *(part[b].detach().numpy() for part in first))
        samples.append(list(zip(*states, strict=True)))
    return [np.stack([np.stack(sample[k]) for sample in samples], 1) for k in range(len(first))]


D, H, B, T = 3, 5, 4, 7
CELLS = {
    "rnn": (rnn, RNN, {}),
    "rnn relu without bias": (rnn, RNN, {"activation": "relu", "bias": False}),
    "lstm": (lstm, LSTM, {}),
    "lstm without bias": (lstm, LSTM, {"bias": False}),
    "lstm diagonal": (lstm, LSTM, {"peephole": "diagonal"}),
    "lstm diagonal without bias": (lstm, LSTM, {"peephole": "diagonal", "bias": False}),
    "lstm full": (lstm, LSTM, {"peephole": "full"}),
    "lstm coupled": (lstm, LSTM, {"coupled": True}),
    "lstm coupled diagonal": (lstm, LSTM, {"coupled": True, "peephole": "diagonal"}),
    "lstm coupled full": (lstm, LSTM, {"coupled": True, "peephole": "full"}),
    **{
        f"gru {reset} {update}": (gru, GRU, {"reset": reset, "update": update})
        for reset in ("before", "after")
        for update in ("z_old", "z_new")
    },
    "gru without bias": (gru, GRU, {"bias": False}),
    "convlstm": (convlstm, ConvLSTM, {"kernel_x": 3, "kernel_h": 5}),
    "convlstm plain": (convlstm, ConvLSTM, {"peephole": "none", "kernel_h": 1}),
    "convlstm full": (convlstm, ConvLSTM, {"peephole": "full", "sides": (3, 4)}),
}


def made(name, start="learned"):
    """A cell whose every parameter is drawn, and an input for it, in float64."""
    step, kind, options = CELLS[name]
    torch.manual_seed(len(name))
    cell = kind(D, H, initial_state=start, **options).double()
    for parameter in cell.parameters():
        nn.init.normal_(parameter, 0, 0.7)
    sides = (3, 4) if kind is ConvLSTM else ()
    return step, cell, torch.randn(T, B, D, *sides, dtype=torch.float64)
