"""Receptive fields: the gradient of every unit as the oracle."""

import pytest
import torch
import torch.nn.functional as F
from field_made import chain, length, regions, unet
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

from concord.cost import field as fields
from concord.cost.count import count
from concord.cost.field import PHASES, Field
from concord.cost.field_reads import EDGE
from concord.cost.field_rules import (
    adaptive_pool,
    interpolated,
    nearest,
    padded,
    sliced,
    transposed,
    window,
)
from concord.cost.hull import hull

LONGEST = 48  # units; each sample of a batch of that many asks for the gradient of another unit


def inputs(extent):
    """A batch of equal inputs, and their field. All weights below are 1, so that no two paths cancel."""
    x = torch.ones(LONGEST, 1, extent, dtype=torch.float64, requires_grad=True)
    return x, Field.of_input("x", extent)


def seen(y, x):
    """First and last position of x with a gradient, for each unit of y: (LONGEST, C, units)."""
    units = y.shape[-1]
    (gradient,) = torch.autograd.grad(y.abs().sum(1).diagonal()[:units].sum(), x)
    places = [row.nonzero()[:, 0].tolist() for row in gradient[:units, 0].abs() > 1e-9]
    return [(p[0], p[-1]) if p else None for p in places]


def conv(x, k, s=1, p=0, d=1):
    return F.conv1d(x, torch.ones(1, x.shape[1], k, dtype=x.dtype), None, s, p, d)


def up_conv(x, k, s=1, p=0, d=1, more=0):
    return F.conv_transpose1d(x, torch.ones(x.shape[1], 1, k, dtype=x.dtype), None, s, p, more, 1, d)


def draw_window(draw, x, field, dilations=(1,)):
    k, s, p, d = (
        draw(st.integers(1, 5)),
        draw(ONE_TO_3),
        draw(st.integers(0, 4)),
        draw(st.sampled_from(dilations)),
    )
    if length(x.shape[-1], k, s, p, d) < 1:
        return x, field
    return conv(x, k, s, p, d), window(field, k, s, p, d, units=length(x.shape[-1], k, s, p, d))


def draw_dilated(draw, x, field):
    return draw_window(draw, x, field, (2, 3))


def draw_pool(draw, x, field):
    k, s, up = draw(ONE_TO_3), draw(ONE_TO_3), draw(st.booleans())
    y = F.avg_pool1d(x, k, s, k // 2, ceil_mode=up) if x.shape[-1] > k else x
    return y, window(field, k, s, k // 2, units=y.shape[-1]) if x.shape[-1] > k else field


def draw_transposed(draw, x, field, dilations=(1,)):
    k, s, p, d = draw(st.integers(1, 4)), draw(ONE_TO_3), draw(ZERO_TO_2), draw(st.sampled_from(dilations))
    more = draw(st.integers(0, max(s, d) - 1))
    units = (x.shape[-1] - 1) * s - 2 * p + d * (k - 1) + more + 1
    if not 1 <= units <= LONGEST:
        return x, field
    return up_conv(x, k, s, p, d, more), transposed(field, k, s, p, d, units=units)


def draw_dilated_transposed(draw, x, field):
    return draw_transposed(draw, x, field, (2, 3))


def rounds_down(old, new):
    """Whether torch reads floor(i old / new), as it does but for a few ratios such as 14 to 46."""
    read = F.interpolate(torch.arange(float(old))[None, None], new)[0, 0]
    return read.tolist() == [i * old // new for i in range(new)]


def draw_resized(draw, x, field):
    mode, units = draw(st.sampled_from(["nearest", "linear", "aligned"])), draw(st.integers(1, LONGEST))
    if mode == "nearest":
        assume(rounds_down(x.shape[-1], units))
        return F.interpolate(x, units, mode=mode), nearest(field, units=units)
    aligned = mode == "aligned"
    y = F.interpolate(x, units, mode="linear", align_corners=aligned)
    return y, interpolated(field, units=units, align_corners=aligned)


def draw_padded(draw, x, field):
    before, after = draw(MINUS_2_TO_2), draw(MINUS_2_TO_2)
    units = x.shape[-1] + before + after
    if not 1 <= units <= LONGEST or x.shape[-1] < 5:
        return x, field
    return F.pad(x, (before, after)), padded(field, before, units=units)


def draw_slice(draw, x, field):
    start, step = draw(st.integers(0, min(2, x.shape[-1] - 1))), draw(ONE_TO_3)
    y = x[..., start::step]
    return y, sliced(field, start, step, units=y.shape[-1])


def draw_adaptive(draw, x, field):
    units = draw(st.integers(2, x.shape[-1] + 2))
    return F.adaptive_avg_pool1d(x, units), adaptive_pool(field, units=units)


ONE_TO_3, ZERO_TO_2, MINUS_2_TO_2 = st.integers(1, 3), st.integers(0, 2), st.integers(-2, 2)
UNDILATED = [draw_window, draw_pool, draw_transposed, draw_resized, draw_padded, draw_slice, draw_adaptive]
ALL = [*UNDILATED, draw_dilated, draw_dilated_transposed]
# With so many phases at most: those of maps that are resized twice are listed unit by unit, or are two lines.
LISTED, LINES = LONGEST + 2 * EDGE, 1
CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
RANDOM = settings(max_examples=150, deadline=None, suppress_health_check=CHECKS)


def draw_chain(draw, x, field, layers, longest):
    for _ in range(draw(st.integers(0, longest))):
        y, after = draw(st.sampled_from(layers))(draw, x, field)
        if y.shape[-1] <= LONGEST:
            x, field = y, after
        assert field.units == x.shape[-1]
    return x, field


def draw_branches(draw, x, field, layers):
    """Two chains from one map, cropped to one length, added or concatenated; and what they brought."""
    ends = [draw_chain(draw, x, field, layers, 2) for _ in range(2)]
    units = min(y.shape[-1] for y, _ in ends)
    cut = []
    for y, after in ends:
        before = draw(st.integers(0, y.shape[-1] - units))
        cut.append((y[..., before : before + units], padded(after, -before, units=units)))
    (a, one), (b, two) = cut
    return (a + b if draw(st.booleans()) else torch.cat([a, b], 1)), hull([one, two]), (one, two)


@pytest.fixture
def phases(request, monkeypatch):
    """A limit on the phases that are told apart, for all rules."""
    monkeypatch.setattr(fields, "PHASES", request.param)


@pytest.mark.parametrize("phases", [PHASES, LISTED], indirect=True)
@pytest.mark.usefixtures("phases")
@RANDOM
@given(st.data())
def test_every_unit_of_an_undilated_chain_sees_exactly_its_region(data):
    x, field = inputs(data.draw(st.integers(1, 24)))
    y, field = draw_chain(data.draw, x, field, UNDILATED, 5)
    assert regions(field) == seen(y, x)
    assert field.exact


@pytest.mark.parametrize("phases", [PHASES, LISTED], indirect=True)
@pytest.mark.usefixtures("phases")
@RANDOM
@given(st.data())
def test_every_unit_of_a_graph_sees_exactly_its_region_where_equal_branches_meet(data):
    x, field = inputs(data.draw(st.integers(4, 24)))
    y, field = draw_chain(data.draw, x, field, UNDILATED, 2)
    y, field, (one, two) = draw_branches(data.draw, y, field, UNDILATED)
    assume((one.first, one.last, one.least, one.most) == (two.first, two.last, two.least, two.most))
    assume(0 not in one.sizes + two.sizes)
    y, field = draw_chain(data.draw, y, field, UNDILATED, 2)
    assert regions(field) == seen(y, x)


@pytest.mark.parametrize("phases", [PHASES, LISTED, LINES, 4, 20], indirect=True)
@pytest.mark.usefixtures("phases")
@RANDOM
@given(st.data())
def test_no_unit_of_any_graph_sees_more_than_its_region(data):
    x, field = inputs(data.draw(st.integers(1, 24)))
    y, field = draw_chain(data.draw, x, field, ALL, 2)
    for _ in range(2):
        y, field, _ = draw_branches(data.draw, y, field, ALL)
        y, field = draw_chain(data.draw, y, field, ALL, 2)
    found = seen(y, x)
    for true, told in zip(found, regions(field), strict=True):
        assert true is None or told[0] <= true[0] <= true[1] <= told[1]
    largest = max((last - first + 1 for first, last in filter(None, found)), default=0)
    assert largest == field.size if field.exact else largest <= field.size
    assert field.size <= x.shape[-1]


@RANDOM
@given(st.data())
def test_dilated_windows_that_stay_inside_see_exactly_their_region(data):
    x, field = inputs(data.draw(st.integers(12, 48)))
    y = x
    for _ in range(3):
        y, field = draw_chain(data.draw, y, field, [draw_resized, draw_slice, draw_adaptive], 1)
        k, s, d = data.draw(ONE_TO_3), data.draw(ONE_TO_3), data.draw(ONE_TO_3)
        units = length(y.shape[-1], k, s, 0, d)
        assume(units > 0)
        y, field = conv(y, k, s, 0, d), window(field, k, s, 0, d, units=units)
    assert regions(field) == seen(y, x)


def test_a_dilated_window_over_the_border_counts_the_border_as_read():
    x, field = inputs(7)
    assert seen(conv(x, 3, 1, 2, 2), x) == [(0, 2), (1, 3), (0, 4), (1, 5), (2, 6), (3, 5), (4, 6)]
    told = regions(window(field, 3, 1, 2, 2, units=7))
    assert told == [(0, 2), (0, 3), (0, 4), (1, 5), (2, 6), (3, 6), (4, 6)]  # units 1 and 5: one too far


@pytest.mark.parametrize(("mode", "reach"), [("bilinear", 1), ("bicubic", 2)])
@pytest.mark.parametrize("option", [{}, {"align_corners": True}, {"antialias": True}])
def test_interpolation_of_any_length_to_any_other(mode, reach, option):
    for extent in (1, 2, 3, 5, 8, 13, 24):
        x, field = inputs(extent)
        for units in (*range(1, 18), 24, 37, 48):
            y = F.interpolate(x[:, :, None], (1, units), mode=mode, **option)[:, :, 0]
            assert regions(interpolated(field, units=units, reach=reach, **option)) == seen(y, x)


@pytest.mark.parametrize("phases", [LINES], indirect=True)
@pytest.mark.usefixtures("phases")
@pytest.mark.parametrize("option", [{}, {"align_corners": True}, {"antialias": True}])
def test_the_two_lines_around_a_single_resizing_are_its_ends_before_they_are_rounded(option):
    for extent in (2, 5, 13, 24):
        x, field = inputs(extent)
        for units in (2, 3, 7, 12, 37, 48):
            y = F.interpolate(x[:, :, None], (1, units), mode="bilinear", **option)[:, :, 0]
            assert regions(interpolated(field, units=units, **option)) == seen(y, x)
            assert regions(nearest(field, units=units)) == seen(F.interpolate(x, units), x)
            pooled = adaptive_pool(field, units=units)
            assert regions(pooled) == seen(F.adaptive_avg_pool1d(x, units), x)
            assert pooled.exact == (not extent % units)


@pytest.mark.parametrize("factor", [0.3, 0.5, 0.75, 1.5, 1.7, 2.0, 2.5, 3.0])
def test_scale_factors_are_kept_where_the_length_was_rounded(factor):
    for extent in (4, 7, 13, 16):
        x, field = inputs(extent)
        for mode in ("linear", "nearest", "nearest-exact"):
            y = F.interpolate(x, scale_factor=factor, mode=mode)
            if mode == "linear":
                told = interpolated(field, units=y.shape[-1], scale=factor)
            else:
                told = nearest(field, units=y.shape[-1], scale=factor, exact=mode == "nearest-exact")
            assert regions(told) == seen(y, x)


@pytest.mark.parametrize("factors", [(1.3, 1.3), (2.0, 1.3), (1.05, 2.05), (0.95, 2.1)])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
def test_a_scale_that_leaves_or_doubles_the_length_is_what_torch_makes_of_it(mode, factors):
    network = nn.Upsample(scale_factor=factors, mode=mode).double()
    cost = count(nn.Sequential(network, nn.ReLU()), (1, 3, 3))
    for axis in (2, 3):
        x = torch.rand(1, 1, 3, 3, dtype=torch.float64, requires_grad=True)
        found = []
        for row in network(x).movedim(axis, 0):
            (gradient,) = torch.autograd.grad(row.sum(), x, retain_graph=True)
            places = (gradient.abs().amax((0, 1, 5 - axis)) > 1e-9).nonzero()[:, 0].tolist()
            found.append((places[0], places[-1]))
        assert regions(cost.receptive_field.fields[axis]) == found


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_padding_that_repeats_the_border_shows_nothing_new(mode):
    x, field = inputs(9)
    y = conv(F.pad(conv(x, 3, 1, 1), (2, 2), mode), 5)
    assert regions(window(padded(window(field, 3, 1, 1, units=9), 2, units=13), 5, units=9)) == seen(y, x)


def test_gradient_of_the_network_of_source_001():
    x, field = inputs(128)
    y = x
    for _ in range(3):
        y = F.softplus(conv(y, 5, 2, 2) / 5)
    assert seen(y, x) == regions(chain(field, *[(5, 2, 2)] * 3))


def unet_pass(x, depth, padding):
    x = conv(conv(x, 3, 1, padding) / 3, 3, 1, padding) / 3
    if depth:
        up = up_conv(unet_pass(F.avg_pool1d(x, 2), depth - 1, padding), 2, 2)
        before = (x.shape[-1] - up.shape[-1]) // 2
        x = torch.cat([x[..., before : before + up.shape[-1]], up], 1)
        x = conv(conv(x, 3, 1, padding) / 3, 3, 1, padding) / 3
    return x


@pytest.mark.parametrize(("depth", "padding", "extent"), [(2, 0, 84), (2, 1, 48), (3, 0, 132), (3, 1, 48)])
def test_gradient_of_u_net(depth, padding, extent):
    x, field = inputs(extent)
    assert seen(unet_pass(x, depth, padding), x) == regions(unet(field, depth, padding))


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_the_size_is_the_largest_that_a_unit_has(data):
    """Without padding no border cuts anything, and nothing beyond the ends of a map is read."""
    x, field = inputs(data.draw(st.integers(6, LONGEST)))
    y = x
    for _ in range(data.draw(st.integers(1, 3))):
        kind = data.draw(st.sampled_from(["pool", "nearest", "window", "up"]))
        n = y.shape[-1]
        if kind == "pool":
            units = data.draw(st.integers(2, 12))
            y, field = F.adaptive_avg_pool1d(y, units), adaptive_pool(field, units=units)
        elif kind == "nearest":
            units = data.draw(st.integers(2, LONGEST))
            assume(
                torch.equal(at_nearest(n, units), torch.arange(units) * n // units)
            )  # not torch's rounding
            y, field = F.interpolate(y, units), nearest(field, units=units)
        elif kind == "window":
            k, s = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
            assume(length(n, k, s) >= 2)
            y, field = conv(y, k, s), window(field, k, s, units=length(n, k, s))
        else:
            assume(2 * n <= LONGEST)
            y, field = up_conv(y, 2, 2), transposed(field, 2, 2, units=2 * n)
    assert field.exact
    assert field.size == max(last - first + 1 for first, last in seen(y, x))


def at_nearest(old, units):
    """In float32, whose rounding the rule knows: from 14 to 46 units float64 reads others."""
    return F.interpolate(torch.arange(old).float()[None, None], units)[0, 0].long()


def test_sizes_behind_adaptive_pooling_by_hand():
    # 46 -> 5: windows floor(9.2 i) ... ceil(9.2 (i + 1)) - 1 are 0-9, 9-18, 18-27, 27-36, 36-45; three see 28
    pooled = adaptive_pool(Field.of_input("x", 46), units=5)
    assert pooled.size == 10
    assert chain(pooled, (3,)).size == 28
    # 17 -> 5: 0-3, 3-6, 6-10, 10-13, 13-16; neighbours see 7 or 8 positions
    assert chain(adaptive_pool(Field.of_input("x", 17), units=5), (2,)).size == 8
    # all five windows of 43 see 43 positions, whatever would come behind them
    assert chain(adaptive_pool(Field.of_input("x", 43), units=5), (5,)).size == 43
