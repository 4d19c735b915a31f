"""Receptive fields: figures by hand, where branches meet, and known networks."""

from fractions import Fraction
from math import nan

import pytest
from field_made import chain, regions, unet

from concord.cost.field import PHASES, Field
from concord.cost.field_rules import (
    adaptive_pool,
    interpolated,
    nearest,
    padded,
    reflected,
    replicated,
    sliced,
    transposed,
    window,
)
from concord.cost.hull import hull
from concord.errors import UsageError

# --- by hand ------------------------------------------------------------------


def test_network_of_source_001():
    x = Field.of_input("rows", 128)
    maps = [chain(x, *[(5, 2, 2)] * n) for n in (1, 2, 3)]
    assert [(f.size, f.jump, f.start, f.units) for f in maps] == [
        (5, 2, 0, 64),
        (13, 4, 0, 32),
        (29, 8, 0, 16),
    ]
    assert maps[2].at(0) == (-14, 14)
    assert (maps[2].region(0), maps[2].region(8)) == ((0, 14), (50, 78))  # errata, row 17
    assert maps[2].region(15) == (106, 127)
    assert maps[2].region(16) is None


def test_dilation_moves_the_start():
    dilated = chain(Field.of_input("x", 9), (3, 1, 0, 2))
    assert (dilated.start, dilated.size, dilated.region(4)) == (2, 5, (4, 8))


def test_start_adds_up_over_layers():
    # start = prev + ((k_eff - 1) / 2 - p) jump: 1 = 0 + (1 - 0) 1, 2 = 1 + (1.5 - 1) 2, 14 = 2 + (3 - 1) 6
    field = chain(Field.of_input("x", 90), (3, 2, 0), (4, 3, 1), (4, 1, 1, 2))
    assert (field.start, field.jump, field.size) == (14, 6, 3 + 3 * 2 + 6 * 6)


def test_three_3x3_see_as_one_7x7():
    x = Field.of_input("x", 20)
    assert chain(x, *[(3, 1, 1)] * 3) == chain(x, (7, 1, 3))
    assert chain(x, *[(3,)] * 3) == chain(x, (7,))


def test_dilated_causal_convolution_is_padding_on_the_left_and_a_window():
    x = Field.of_input("t", 30)
    causal = window(padded(x, 6, units=36), 4, 1, 0, 2, units=30)
    assert [causal.at(i) for i in (0, 10)] == [(-6, 0), (4, 10)]
    assert causal == window(x, 4, 1, 6, 2, units=30)


def test_causal_stack_of_doubling_dilations_is_exact_at_every_step():
    field = Field.of_input("t", 40)
    for dilation in (1, 2, 4, 8):  # 1 + (k - 1)(2^4 - 1) steps
        field = window(field, 3, 1, 2 * dilation, dilation, units=40)
    assert field.size == 31
    assert regions(field) == [(max(0, i - 30), i) for i in range(40)]


def test_transposed_convolution_by_hand():
    # k = 4, s = 2, p = 1: unit i reads ceil((i - 2) / 2) ... floor((i + 1) / 2)
    field = transposed(Field.of_input("x", 5), 4, 2, 1, units=10)
    assert (field.period, field.shift, field.jump, field.sizes) == (2, 1, Fraction(1, 2), (2, 2))
    assert regions(field)[:4] == [(0, 0), (0, 1), (0, 1), (1, 2)]
    assert field.start == -0.5


def test_units_between_the_steps_of_a_transposed_convolution_see_nothing():
    field = transposed(Field.of_input("x", 3), 2, 3, units=8)
    assert regions(field) == [(0, 0), (0, 0), None, (1, 1), (1, 1), None, (2, 2), (2, 2)]
    assert (field.sizes, field.size) == ((1, 1, 0), 1)
    assert regions(window(field, 2, units=7)) == [(0, 0), (0, 0), *[(1, 1)] * 3, *[(2, 2)] * 2]
    for dilated in (window(field, 2, 1, 0, 3, units=5), transposed(field, 2, 1, 3, 3, units=5)):
        assert regions(dilated) == [(0, 1), (0, 1), None, (1, 2), (1, 2)]  # i and i + 3
    late = transposed(Field.of_input("x", 3), 1, 2, 1, units=3)
    assert (late.start, regions(late)) == (None, [None, (1, 1), None])


def test_upsampling_and_convolution_see_by_turns_less_and_more():
    x = Field.of_input("x", 6)
    up = nearest(x, units=12)
    assert (up.jump, [up.at(i) for i in (-1, 0, 1, 2)]) == (
        Fraction(1, 2),
        [(-1, -1), (0, 0), (0, 0), (1, 1)],
    )
    assert window(up, 3, 1, 1, units=12).sizes == (2, 2)
    assert window(up, 4, 1, 1, units=11).sizes == (3, 2)
    assert window(up, 2, 2, units=6) == x  # the phases are gone again


def test_adaptive_pooling_is_a_window_where_it_divides():
    x = Field.of_input("x", 12)
    assert adaptive_pool(x, units=3) == window(x, 4, 4, units=3)
    assert adaptive_pool(x, units=12) is x
    assert adaptive_pool(x, units=1) is None
    uneven = adaptive_pool(Field.of_input("x", 7), units=3)
    assert (regions(uneven), uneven.jump) == ([(0, 2), (2, 4), (4, 6)], Fraction(7, 3))


def test_strided_slices_and_crops():
    x = Field.of_input("x", 11)
    assert regions(sliced(x, 2, 4, units=3)) == [(2, 2), (6, 6), (10, 10)]
    assert padded(x, -3, units=5) == sliced(x, 3, units=5)
    assert regions(padded(x, 2, units=13))[:3] == [None, None, (0, 0)]


def test_what_is_cropped_away_is_not_seen_through_padding():
    cropped = padded(chain(Field.of_input("x", 10), (3,)), -2, units=4)  # units see 2..4 to 5..7
    assert regions(window(cropped, 3, 1, 1, units=4)) == [(2, 5), (2, 6), (3, 7), (4, 7)]
    again = padded(cropped, 2, units=8)
    assert regions(again) == [None, None, (2, 4), (3, 5), (4, 6), (5, 7), None, None]
    assert regions(chain(again, (3,))) == [(2, 4), (2, 5), (2, 6), (3, 7), (4, 7), (5, 7)]


def test_windows_over_padding_alone_see_nothing():
    field = chain(Field.of_input("x", 4), (3, 1, 1), (1, 1, 1))
    assert regions(field) == [None, (0, 1), (0, 2), (1, 3), (2, 3), None]
    wide = chain(Field.of_input("x", 10), (9, 1, 4))
    gone = padded(padded(wide, -11, units=3), 6, units=9)
    assert regions(chain(gone, (9, 1, 4))) == [None] * 9


def test_floor_of_the_output_size_hides_the_last_positions():
    field = chain(Field.of_input("x", 5), (2, 2), (3, 1, 1))  # position 4 is read by no window
    assert regions(field) == [(0, 3), (0, 3)]


# --- where branches meet ------------------------------------------------------


def test_hull_of_residual_branches():
    x = Field.of_input("x", 16)
    both = [chain(x, (3, 2, 1), (3, 1, 1)), chain(x, (1, 2))]
    assert hull(both) == hull(both[::-1]) == both[0]
    one, two = chain(x, (4, 1, 0)), padded(x, -1, units=13)
    assert (hull([one, two]).at(5), hull([two, one]).at(5)) == ((5, 8), (5, 8))
    assert hull([padded(one, -3, units=10), padded(two, 0, units=10)]).at(0) == (1, 6)


def test_hull_brings_periods_to_their_least_common_multiple():
    x = Field.of_input("x", 24)
    halves, thirds = window(x, 2, 2, units=12), window(x, 3, 3, units=8)
    field = hull([nearest(halves, units=24), nearest(thirds, units=24)])
    assert (field.period, field.shift) == (6, 6)
    assert regions(field)[:6] == [(0, 2), (0, 2), (0, 3), (2, 5), (3, 5), (3, 5)]


def test_no_period_grows_far_beyond_the_map():
    x = Field.of_input("x", 35)
    fifths = nearest(window(x, 5, 5, units=7), units=35)
    sevenths = nearest(window(x, 7, 7, units=5), units=35)
    assert hull([fifths, sevenths]).period == 35
    field = hull([padded(fifths, 0, units=10), padded(sevenths, 0, units=10)])
    assert (field.period, field.jump) == (14, 1)  # twice 7 covers 10 units
    assert regions(field) == [*[(0, 6)] * 5, *[(0, 9)] * 2, *[(5, 13)] * 3]


def test_unequal_jumps_drift_apart_within_the_map_only():
    x = Field.of_input("x", 40)
    fast = adaptive_pool(x, units=16)  # period 2, jump 5/2
    slow = window(x, 1, 1, units=3)
    field = hull([padded(fast, 0, units=3), slow])
    assert (field.period, field.jump) == (4, Fraction(5, 2))
    assert (field.sizes, regions(field)) == ((3, 4, 6, 3), [(0, 2), (1, 4), (2, 7)])


def test_unequal_jumps_are_listed_unit_by_unit():
    x = Field.of_input("x", 8)
    up = interpolated(window(x, 2, 2, units=4), units=8, align_corners=True)  # x = 3 i / 7
    field = hull([x, up])
    assert (field.jump, field.units, field.size) == (1, 8, 4)
    assert regions(field) == [(0, 1), *[(0, 3)] * 2, *[(2, 5)] * 2, *[(4, 7)] * 2, (6, 7)]
    assert hull([up, x]) == field


def test_what_is_not_local_or_has_other_sources_has_no_hull():
    x, y = Field.of_input("x", 8), Field.of_input("y", 8)
    assert hull([x, None]) is None
    assert hull([x, y]) is None
    assert hull([x, Field.of_input("x", 7)]) is None
    assert hull([x]) == x


# --- where phases are too many ------------------------------------------------


def test_two_lines_around_a_long_map_by_hand():
    # x = 1499 i / 3000: unit i reads the positions nearer than 1 to x, from x - 1 + 1/3000 to x + 1 - 1/3000
    field = interpolated(Field.of_input("x", 1500), units=3001, align_corners=True)
    assert (field.exact, field.period, field.jump, field.sizes) == (False, 1, Fraction(1499, 3000), (2,))
    assert (field.low, field.high) == ((Fraction(-2999, 3000),), (Fraction(2999, 3000),))
    assert [field.region(i) for i in (0, 1, 2, 1500, 2999, 3000)] == [
        (0, 0),
        (0, 1),
        (0, 1),
        (749, 750),
        (1498, 1499),
        (1499, 1499),
    ]
    after = window(field, 3, 2, 1, units=1501)  # i reads 2 i - 1 ... 2 i + 1
    assert (after.exact, after.jump) == (False, Fraction(1499, 1500))
    assert [after.region(i) for i in (0, 1, 1500)] == [(0, 1), (0, 2), (1498, 1499)]


def test_lines_of_branches_that_drift_apart():
    # Mean of two, then x = 1023 i / 2047: positions 2 (x - 1 + 1/2047) ... 2 (x + 1 - 1/2047) + 1. To the
    # end of the map 2 x falls 2047 - 2 1023 = 1 position behind the skip connection, which sees i.
    x = Field.of_input("x", 2048)
    up = interpolated(window(x, 2, 2, units=1024), units=2048, align_corners=True)
    for field in (hull([x, up]), hull([up, x])):
        assert (field.exact, field.period, field.jump, field.size) == (False, 1, 1, 6)
        assert (field.low, field.high) == ((-3 + Fraction(2, 2047),), (3 - Fraction(2, 2047),))
        assert [field.region(i) for i in (0, 1, 1000, 2047)] == [(0, 2), (0, 3), (998, 1002), (2045, 2047)]
    assert hull([x, x]).exact


def test_no_map_has_more_phases_than_are_told_apart():
    field = Field.of_input("x", 9_999)
    for units in (10_007, 613, 30_011, 487, 509, 20_011):
        for rule in (nearest, interpolated, adaptive_pool):
            field = window(rule(field, units=units), 3, 1, 1, units=units)
            assert field.period <= PHASES
            assert field.jump * units == pytest.approx(9_999)


# --- refused ------------------------------------------------------------------


@pytest.mark.parametrize("rule", [window, transposed])
@pytest.mark.parametrize("numbers", [(0, 1, 0, 1), (3, 0, 0, 1), (3, 1, 0, 0)])
def test_numbers_below_one_are_refused(rule, numbers):
    with pytest.raises(UsageError, match=f"at least 1, got {numbers[0]}, {numbers[1]} and {numbers[3]}"):
        rule(Field.of_input("x", 8), *numbers, units=4)


def test_empty_axes_sums_of_nothing_and_scales_of_nothing_are_refused():
    with pytest.raises(UsageError, match="at least 1 position, got 0"):
        Field.of_input("x", 0)
    with pytest.raises(UsageError, match="at least one field"):
        hull([])
    for scale in (0.0, nan):
        with pytest.raises(UsageError, match="scale must be above 0"):
            nearest(Field.of_input("x", 8), units=4, scale=scale)


# --- known networks -----------------------------------------------------------


def test_vgg_16():
    field = Field.of_input("x", 224)
    for convolutions in (2, 2, 3, 3, 3):
        field = chain(field, *[(3, 1, 1)] * convolutions, (2, 2))
    assert (field.size, field.jump, field.units) == (212, 32, 7)


@pytest.mark.parametrize(("strided", "size"), [(0, 483), (1, 427)])  # stride on the first 1x1, or on the 3x3
def test_resnet_50(strided, size):
    field = chain(Field.of_input("x", 224), (7, 2, 3), (3, 2, 1))
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            steps = [stride, 1] if strided == 0 else [1, stride]
            main = chain(field, (1, steps[0]), (3, steps[1], 1), (1,))
            field = hull([main, chain(field, (1, stride))])
    assert (field.unbounded, field.jump, field.units, field.period) == (size, 32, 7, 1)
    assert (field.size, field.exact) == (224, True)  # no unit sees more than the picture


@pytest.mark.parametrize(("depth", "sizes"), [(2, {44}), (3, {92, 100}), (4, {188, 204})])
def test_field_of_u_net_depends_on_the_pixel(depth, sizes):
    for padding, extent, units in ((0, 572, 572 - 12 * 2**depth + 8), (1, 320, 320)):  # 388 in depth 4
        field = unet(Field.of_input("x", extent), depth, padding)
        assert (set(field.sizes), field.size, field.period, field.jump) == (sizes, max(sizes), 2**depth, 1)
        assert field.units == units


# --- padding that repeats -----------------------------------------------------


def test_padding_that_repeats_the_map_by_hand():
    x = Field.of_input("x", 5)
    assert regions(reflected(x, 3, units=10)) == [(i, i) for i in (3, 2, 1, 0, 1, 2, 3, 4, 3, 2)]
    wide = replicated(chain(Field.of_input("x", 7), (3,)), 2, units=8)
    assert regions(wide) == [(i, i + 2) for i in (0, 0, 0, 1, 2, 3, 4, 4)]
    # a window of 2 over the border sees what no window inside does: positions 3 and 2, and 0 alone
    assert regions(chain(reflected(x, 3, units=10), (2,)))[:3] == [(2, 3), (1, 2), (0, 1)]
    apart = chain(
        reflected(x, 3, units=10), (2, 1, 0, 4)
    )  # units i and i + 4: 3 and 1, 2 and 2, 1 and 3, ...
    assert regions(apart) == [(1, 3), (2, 2), (1, 3), (0, 4), (1, 3), (2, 2)]
    assert (apart.size, apart.exact) == (5, True)


@pytest.mark.parametrize("rule", [reflected, replicated])
def test_a_long_map_that_is_padded_by_itself_is_bounded(rule):
    maps = [chain(Field.of_input("x", n), (3, 1, 1)) for n in (500, 5000)]
    short, long = (chain(rule(field, 3, units=field.units + 6), (7,)) for field in maps)
    assert (short.size, short.exact, long.exact) == (9, True, False)
    assert 9 <= long.size <= 9 + 4 * 3
    assert [long.region(i)[0] <= max(0, i - 4) for i in (0, 1, 2, 3, 4999)] == [True] * 5


def test_the_input_padded_by_its_border_is_exact_at_any_length_and_keeps_its_size_without_borders():
    for extent in (28, 5000):
        field = replicated(Field.of_input("x", extent), 2, units=extent + 4)
        assert (field.period, chain(field, (5,)).size, chain(field, (5,)).exact) == (1, 5, True)
    whole = chain(replicated(Field.of_input("x", 28), 2, units=32), (32,))
    assert (whole.size, whole.unbounded, whole.exact) == (28, 32, True)
    alone = chain(
        replicated(Field.of_input("x", 3), 2, units=7), (2, 9)
    )  # one unit, which reads padding alone
    assert (alone.size, alone.exact) == (1, False)


# --- borders ------------------------------------------------------------------


def test_a_field_that_all_units_have_cut_is_as_large_as_the_largest_cut_one():
    field = chain(
        Field.of_input("x", 6), (5, 1, 2), (5, 1, 2)
    )  # 9 of 6; units 0 ... 5 see up to 4 to each side
    assert regions(field) == [(0, 4), (0, 5), (0, 5), (0, 5), (0, 5), (1, 5)]
    assert (field.size, field.unbounded, field.exact) == (6, 9, True)
    up = transposed(Field.of_input("x", 2), 5, 2, units=7)  # units 0 and 1, 1 and 0 in the middle
    assert (chain(up, (3, 1, 1)).size, chain(up, (3, 1, 1)).unbounded) == (2, 4)


def test_a_unit_that_no_border_cuts_makes_a_field_exact_whatever_happens_at_borders():
    dilated = chain(Field.of_input("x", 30), (3, 1, 4, 4), (3, 1, 3, 3))
    assert (dilated.tight, dilated.size, dilated.unbounded, dilated.exact) == (False, 15, 15, True)
    short = chain(Field.of_input("x", 10), (3, 1, 4, 4), (3, 1, 3, 3))
    assert (short.size, short.unbounded, short.exact) == (10, 15, False)


def test_a_map_that_sees_padding_alone_sees_exactly_nothing():
    gone = padded(padded(Field.of_input("x", 4), -5, units=1), 2, units=4)
    assert (gone.size, gone.exact) == (0, True)
