"""The LSTM over all steps with a backward pass written by hand, for processors.

Between two products a step of an LSTM does some twenty operations on a few hundred numbers. Through autograd
most of their time is overhead; here NumPy does them in place, in memory that the tensors share.
Products are torch's, so that its threads and its determinism hold.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from concord.layers.products import product, product_into

Array = Any  # numpy's own generic says less


class _Steps(torch.autograd.Function):
    """Pre-activations without the recurrent part -> states of an LSTM with diagonal peepholes.

    Shape: (T, B, 4 H), (4 H, H), (2 H,) and (H,), (B, H) twice -> (T, B, H), (B, H), (B, H)
    """

    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, weight: Tensor, before: Tensor, after: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        steps, batch, width = projected.shape
        units = width // 4
        gates = projected.new_empty(steps, 4, batch, units)  # i, f, g, o behind their activations
        hs, cs = projected.new_empty(2, steps + 1, batch, units)
        shown = projected.new_empty(steps, batch, units)  # tanh(c)
        hs[0], cs[0] = h, c
        z = projected.new_empty(batch, width)
        p, p_o = _spread(before, batch, units), _spread(after, batch, units)[0]
        spare, pair = np.empty_like(p_o), np.empty_like(p)
        states, seen = hs.unbind(0), _by_gate(z)
        rows = zip(
            projected.numpy(), gates.numpy(), cs.numpy(), cs.numpy()[1:], hs.numpy()[1:], shown.numpy(),
            strict=False,
        )  # fmt: skip
        for t, (from_x, gate, c_before, c_now, h_now, tanh_c) in enumerate(rows):
            product_into(z, states[t], weight)
            np.add(from_x.reshape(batch, 4, units).transpose(1, 0, 2), seen, out=gate)
            i_f, (i, f, g, o) = gate[:2], gate
            np.multiply(c_before, p, out=pair)
            i_f += pair
            i_f *= 0.5  # sigmoid(z) = (1 + tanh(z / 2)) / 2
            np.tanh(gate[:3], out=gate[:3])
            i_f *= 0.5
            i_f += 0.5
            np.multiply(f, c_before, out=c_now)
            np.multiply(i, g, out=spare)
            c_now += spare
            np.multiply(c_now, p_o, out=spare)
            o += spare
            o *= 0.5
            np.tanh(o, out=o)
            o *= 0.5
            o += 0.5
            np.tanh(c_now, out=tanh_c)
            np.multiply(o, tanh_c, out=h_now)
        ctx.save_for_backward(gates, hs, cs, shown, weight, before, after)
        return hs[1:], hs[steps].clone(), cs[steps].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_hs: Tensor, d_h: Tensor, d_c: Tensor) -> tuple[Tensor, ...]:
        gates, hs, cs, shown, weight, before, after = ctx.saved_tensors
        steps, _, batch, units = gates.shape
        d_z = gates.new_empty(steps, batch, 4 * units)
        d_hs, d_h, d_c = d_hs.contiguous(), d_h + d_hs[-1], d_c.clone()
        p, p_o = _spread(before, batch, units), _spread(after, batch, units)[0]
        dh, dc = d_h.numpy(), d_c.numpy()
        d, spare, pair = np.empty((4, batch, units), p.dtype), np.empty_like(p_o), np.empty_like(p)
        d_if, (d_i, d_f, d_g, d_o) = d[:2], d
        d_p, d_p_o = np.zeros_like(p), np.zeros_like(p_o)
        d_rows, columns, given_hs = d_z.unbind(0), weight.t().contiguous(), d_hs.numpy()
        given = [_by_gate(row) for row in d_rows]
        rows = list(zip(gates.numpy(), cs.numpy(), cs.numpy()[1:], shown.numpy(), strict=False))
        for t in reversed(range(steps)):
            gate, c_before, c_now, tanh_c = rows[t]
            i_f, (i, f, g, o) = gate[:2], gate
            np.multiply(dh, tanh_c, out=d_o)  # d_o = dh tanh(c) o (1 - o)
            np.multiply(o, o, out=spare)
            np.subtract(o, spare, out=spare)
            d_o *= spare
            np.multiply(tanh_c, tanh_c, out=spare)  # dc += dh o (1 - tanh^2 c) + p_o d_o
            np.subtract(1, spare, out=spare)
            spare *= o
            spare *= dh
            dc += spare
            np.multiply(d_o, p_o, out=spare)
            dc += spare
            np.multiply(dc, g, out=d_i)  # d_i = dc g i (1 - i), d_f = dc c_before f (1 - f)
            np.multiply(dc, c_before, out=d_f)
            np.multiply(i_f, i_f, out=pair)
            np.subtract(i_f, pair, out=pair)
            d_if *= pair
            np.multiply(g, g, out=spare)  # d_g = dc i (1 - g^2)
            np.subtract(1, spare, out=spare)
            spare *= i
            np.multiply(spare, dc, out=d_g)
            dc *= f
            np.multiply(d_if, p, out=pair)
            dc += pair[0]
            dc += pair[1]
            given[t][...] = d
            np.multiply(d_if, c_before, out=pair)
            d_p += pair
            np.multiply(d_o, c_now, out=spare)
            d_p_o += spare
            product_into(d_h, d_rows[t], columns)
            if t:
                dh += given_hs[t - 1]
        d_weight = product(hs[:-1].flatten(0, 1).t(), d_z.flatten(0, 1).t()).t()
        d_before, d_after = torch.from_numpy(d_p.sum(1).reshape(-1)), torch.from_numpy(d_p_o.sum(0))
        return d_z, d_weight, d_before, d_after, d_h, d_c


def _by_gate(z: Tensor) -> Array:
    """The same memory, gate by gate. Shape: (B, 4 H) -> (4, B, H)"""
    return z.numpy().reshape(len(z), 4, -1).transpose(1, 0, 2)


def _spread(peephole: Tensor, batch: int, units: int) -> Array:
    """One copy for each sample, so that products run over memory in order. Shape: (n H,) -> (n, B, H)"""
    return peephole.detach().view(-1, 1, units).repeat(1, batch, 1).numpy()


steps = _Steps.apply
