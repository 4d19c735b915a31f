"""Limits: what is over them, and how they are read and written."""

import pytest

from concord.cli import sizes
from concord.errors import UsageError
from concord.shipping.limits import Limits, Needs, shown

NEEDS = Needs(parameters=1_000, macs=20_000, bytes=4_100, milliseconds=0.5)


def test_a_need_equal_to_its_limit_is_under_it_and_one_more_is_over():
    limits = Limits(parameters=1_000, macs=19_999, bytes=5_000, milliseconds=0.4)
    assert limits.over(NEEDS) == ("macs", "milliseconds")
    assert Limits().over(NEEDS) == ()


def test_what_was_not_measured_is_not_over():
    assert Limits(milliseconds=0.1).over(Needs(1, 2, 3)) == ()


@pytest.mark.parametrize("limits", [{"parameters": 0}, {"macs": -5}, {"milliseconds": float("inf")}])
def test_a_limit_that_is_not_above_0_is_refused(limits):
    with pytest.raises(UsageError, match=f"must be a number above 0, got {next(iter(limits.values()))}"):
        Limits(**limits)


def test_limits_in_words():
    assert str(Limits()) == "without limits"
    assert str(Limits(parameters=50_000)) == "at most 50,000 parameters"
    assert str(Limits(1_000, None, 2_000, 1.5)) == "at most 1,000 parameters, 2,000 bytes and 1.5 ms"
    assert shown("macs", 1_234_567) == "1,234,567 MACs"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100k", 100_000),
        ("1.5M", 1_500_000),
        ("1.1k", 1_100),
        ("2g", 2 * 10**9),
        (" 7 ", 7),
        ("12345", 12_345),
    ],
)
def test_counts_with_units(text, value):
    assert sizes.count("--max-macs", text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("200kB", 200_000), ("1MiB", 1_048_576), ("300", 300), ("9 b", 9)]
)
def test_sizes_with_units(text, value):
    assert sizes.size("--max-bytes", text) == value


@pytest.mark.parametrize(("text", "value"), [("2", 2), ("2ms", 2), ("500us", 0.5), ("0.1 s", 100)])
def test_times_with_units(text, value):
    assert sizes.milliseconds("--max-ms", text) == value


def test_nothing_given_is_no_limit():
    assert sizes.count("--max-macs", None) is sizes.size("--max-bytes", None) is None


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (sizes.count, "many", "expected a number such as 100000, 100k or 1.5M"),
        (sizes.count, "-3", "expected a number such as"),
        (sizes.count, "0k", "expected a number above 0"),
        (sizes.count, "10kB", "'kB' is not a unit of it; expected one of k, m, g"),
        (sizes.count, "1.5", "expected a whole number"),
        (sizes.size, "3 hours", "'hours' is not a unit of it; expected one of b, kb"),
        (sizes.milliseconds, "2min", "'min' is not a unit of it; expected one of ms, us, s"),
        (sizes.count, "9" * 40, "expected a number above 0"),
    ],
)
def test_what_is_no_size_is_refused_with_the_option_and_an_example(read, text, said):
    with pytest.raises(UsageError) as refused:
        read("--max-x", text)
    assert str(refused.value).startswith(f"--max-x {text}: ")
    assert said in str(refused.value)
