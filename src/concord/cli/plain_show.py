"""``concord plain show``: one training step of a tiny network, every number of it.

A 5x5 picture and a 3x3 filter with padding 1, as in the USTH CNN; then 2x2 max-pooling, a dense layer with
ReLU and one with softmax. Everything printed is what the layers of ``concord.plain`` compute.

Example:
    $ concord plain show
"""

from collections.abc import Iterator, Sequence
from typing import Any

from concord.cli.options import Json, print_json
from concord.plain.maps import Map, flat
from concord.plain.worked import DENSE1, DENSE2, plain_show


def show_command(json_: Json = False) -> None:
    step = plain_show()
    if json_:
        print_json(step)
    else:
        print("\n".join([*_forward(step), *_backward(step)]))


def _forward(s: dict[str, Any]) -> Iterator[str]:
    yield "FORWARD"
    yield "Picture x (5x5), with a frame of zeros (padding 1):"
    yield from _matrix(s["padded"])
    yield f"Filter w (3x3), bias b = {_n(s['bias'])}:"
    yield from _matrix(s["filter"])
    yield "Convolution: y_ij = b + the sum of w_uv times the number of x that lies under it."
    yield "H_out = floor(1 + (5 + 2*1 - 3) / 1) = 5"
    for i, j in ((0, 0), (0, 1)):
        yield f"y{i + 1}{j + 1} = {_n(s['bias'])} + {_window(s, i, j)} = {_n(s['y'][i][j])}"
    yield "y ="
    yield from _matrix(s["y"])
    yield "Max-pooling 2x2, stride 2: H_out = floor(1 + (5 - 2) / 2) = 2; row 5 and column 5 are left over."
    for name, value in zip(_flat(s["winners"]), flat(s["pooled"]), strict=True):
        yield f"  {name} = {_n(value)} is the largest of its window"
    yield f"Flat: x = {_vector(flat(s['pooled']))}"
    w, b = DENSE1
    yield "Dense 4 -> 2, then ReLU: a_k = b_k + sum_d w_kd x_d, h_k = max(0, a_k)"
    yield from _dense("a", w, b, flat(s["pooled"]), s["a"])
    yield f"h = {_vector(s['h'])}"
    w, b = DENSE2
    yield "Dense 2 -> 2: z_k = b_k + sum_d w_kd h_d"
    yield from _dense("z", w, b, s["h"], s["z"])
    yield f"Softmax: p_k = e^z_k / sum_j e^z_j = {_vector(s['p'])}"
    right = s["label"]
    yield f"The right class is {right + 1}: L = -ln p{right + 1} = -ln {_n(s['p'][right])} = {_n(s['loss'])}"


def _backward(s: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield "BACKWARD (d. stands for dL/d.)"
    yield f"dz_k = p_k - [k is the right class] = {_vector(s['dz'])}"
    yield "Second dense layer: dw_kd = dz_k h_d, db_k = dz_k, dh_d = sum_k w_kd dz_k"
    yield from _matrix(s["dw2"])
    yield f"dh = {_vector(s['dh'])}"
    yield f"ReLU: da_k = dh_k where a_k > 0, else 0: da = {_vector(s['da'])}"
    yield "First dense layer: dw_kd = da_k x_d, db_k = da_k, dx_d = sum_k w_kd da_k"
    yield from _matrix(s["dw1"])
    yield f"dx = {_vector(flat(s['dpooled']))}"
    yield "Max-pooling: each number goes to its winner, all others get 0. dy ="
    yield from _matrix(s["dy"])
    yield "Filter: dw_uv = the sum of dy_ij times the number of x that lay under w_uv; db = the sum of dy"
    yield f"dw11 = {_filter_sum(s, 0, 0)} = {_n(s['dfilter'][0][0])}"
    yield f"dw22 = {_filter_sum(s, 1, 1)} = {_n(s['dfilter'][1][1])}"
    yield "dw ="
    yield from _matrix(s["dfilter"])
    yield f"db = {_n(s['dbias'])}"
    yield "Picture (not needed here): dx_rq = the sum of dy_ij w_uv over all windows that hold x_rq; dx ="
    yield from _matrix(s["dpicture"])
    yield ""
    after = s["after"]
    yield f"GRADIENT DESCENT: w <- w - {_n(s['rate'])} dw for every weight, b <- b - {_n(s['rate'])} db"
    yield f"Filter, with bias {_n(after['bias'])}:"
    yield from _matrix(after["filter"])
    for name, layer in (("First", "1"), ("Second", "2")):
        yield f"{name} dense layer, with biases {_vector(after[f'b{layer}'])}:"
        yield from _matrix(after[f"w{layer}"])
    x, h, z = flat(after["pooled"]), after["h"], after["z"]
    yield f"With these x = {_vector(x)}, h = {_vector(h)}, z = {_vector(z)}:"
    yield f"L was {_n(s['loss'])} and is {_n(after['loss'])} now."


def _window(s: dict[str, Any], i: int, j: int) -> str:
    frame = s["padded"]
    return " + ".join(
        f"{_n(frame[i + u][j + v])}*{_signed(s['filter'][u][v])}" for u in range(3) for v in range(3)
    )


def _filter_sum(s: dict[str, Any], u: int, v: int) -> str:
    """dw_uv as its sum; terms with dy = 0 are left out."""
    return " + ".join(
        f"{_signed(d)}*{_n(s['padded'][i + u][j + v])}"
        for i, row in enumerate(s["dy"])
        for j, d in enumerate(row)
        if d
    )


def _dense(
    name: str, w: Sequence[Sequence[float]], b: Sequence[float], x: Sequence[float], y: Sequence[float]
) -> Iterator[str]:
    for k, row in enumerate(w):
        terms = " + ".join(f"{_signed(w_kd)}*{_n(x_d)}" for w_kd, x_d in zip(row, x, strict=True))
        yield f"  {name}{k + 1} = {_n(b[k])} + {terms} = {_n(y[k])}"


def _matrix(numbers: Map) -> Iterator[str]:
    width = max(len(_n(x)) for row in numbers for x in row)
    for row in numbers:
        yield "  [ " + "  ".join(f"{_n(x):>{width}}" for x in row) + " ]"


def _vector(numbers: Sequence[float]) -> str:
    return "(" + ", ".join(map(_n, numbers)) + ")"


def _flat(lists: Sequence[Sequence[str]]) -> list[str]:
    return [name for row in lists for name in row]


def _signed(number: float) -> str:
    return f"({_n(number)})" if number < 0 else _n(number)


def _n(number: float) -> str:
    """Four digits after the point, without zeros that say nothing."""
    text = f"{number:.4f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
