"""``concord explain`` of operations: every step on the terminal and as JSON."""

import json
import os
import shlex
import subprocess
import sys

import pytest
from docs_made import ROOT, blocks
from run_made import call

from concord.cli.grids import read_grid, read_size
from concord.errors import UsageError

TWO = ("--input", "1 2; 3 4", "--kernel", "1 2; 3 4")
PAGE = ROOT / "docs/arithmetic.md"


def explained(capsys, *arguments):
    status, out, err = call(capsys, "explain", *arguments)
    assert (status, err) == (0, "")
    return out


def test_transposed_convolution_shows_every_step_and_its_check(capsys):
    lines = explained(capsys, "transposed", *TWO, "--stride", 1).splitlines()
    assert lines[-4:] == [
        "  [  1   4   4 ]",
        "  [  6  20  16 ]",
        "  [  9  24  16 ]",
        "Check: the sum of y, 100, is the sum of x times the sum of w, 10 * 10.",
    ]
    assert "1. Zeros between the elements of x: none, they are inserted for stride 2 and more." in lines
    flipped = lines.index("3. The kernel flipped, upside down and left to right (2x2):")
    assert lines[flipped + 1 : flipped + 3] == ["  [ 4  3 ]", "  [ 2  1 ]"]
    assert "  y[2,3] = 2*4 + 0*3 + 4*2 + 0*1 = 16" in lines
    assert len([line for line in lines if line.startswith("  y[")]) == 9


def test_zeros_are_inserted_for_stride_2_and_the_check_is_left_out_with_padding(capsys):
    whole = explained(capsys, "transposed", *TWO, "--stride", 2)
    assert "1. Stride 2: s - 1 zeros between the elements of x (3x3):\n  [ 1  0  2 ]\n  [ 0  0  0 ]" in whole
    assert "Check: the sum of y, 100" in whole
    cut = explained(capsys, "transposed", *TWO, "--stride", 2, "--padding", 1, "--output-padding", "1,0")
    assert "H = (H_in - 1) s - 2 p + d (k - 1) + o + 1 = (2 - 1)*2 - 2*1 + 1*(2 - 1) + 1 + 1 = 3" in cut
    assert "W, in the same way: (2 - 1)*2 - 2*1 + 1*(2 - 1) + 0 + 1 = 2" in cut
    assert "o = 1 down, 0 across more below and on the right" in cut
    assert "Check" not in cut


def test_padding_that_is_wider_than_the_frame_cuts_off(capsys):
    out = explained(capsys, "transposed", *TWO, "--stride", 3, "--padding", 2)
    assert "d (k - 1) - p = 1*(2 - 1) - 2 = -1 (below 0: as many rows or columns are cut off) (2x2)" in out
    assert out.endswith("y (1x1):\n  [ 0 ]\n")


def test_json_has_the_steps_as_data_and_whole_numbers_stay_whole(capsys):
    given = json.loads(explained(capsys, "transposed", *TWO, "--json"))
    assert given["output"] == [[1, 4, 4], [6, 20, 16], [9, 24, 16]]
    assert given["sums"] == {"input": 10, "kernel": 10, "output": 100}
    assert given["framed"][1] == [0, 1, 2, 0]
    assert given["positions"][5] == {"row": 1, "column": 2, "under": [[2, 0], [4, 0]], "value": 16}
    assert all(type(value) is int for row in given["output"] for value in row)
    assert json.loads(explained(capsys, "transposed", *TWO, "--padding", 1, "--json"))["sums"] is None


def test_convolution_is_a_cross_correlation_and_says_so(capsys):
    numbers = "--input", "1 2 0; 3 4 1", "--kernel", "-1 .5"
    out = explained(capsys, "convolution", *numbers)
    assert "a cross-correlation: the kernel is not flipped" in out
    assert "  y[2,1] = 3*(-1) + 4*0.5 = -1\n" in out
    assert json.loads(explained(capsys, "convolution", *numbers, "--json"))["output"] == [[0, -2], [-1, -3.5]]


def test_decimals_are_exact(capsys):
    out = explained(capsys, "convolution", "--input", "0.1 0.2", "--kernel", "1 1")
    assert "  y[1,1] = 0.1*1 + 0.2*1 = 0.3\n" in out


@pytest.mark.parametrize(
    ("kind", "line", "last"),
    [
        ("max", "y[1,2] = max(2, 0, 4, 1) = 4", "[ 5  4 ]"),
        ("mean", "y[1,2] = (2 + 0 + 4 + 1)/4 = 1.75", "[    3  1.75 ]"),
    ],
)
def test_pooling_shows_every_window(kind, line, last, capsys):
    numbers = "--input", "1 2 0; 3 4 1; 5 0 2"
    out = explained(capsys, "pooling", *numbers, "--kind", kind, "--stride", 1)
    assert f"  {line}\n" in out
    assert out.rstrip().endswith(last)


def test_a_mean_that_no_decimal_holds_is_a_fraction(capsys):
    numbers = "--input", "1 2 4", "--size", "1,3", "--kind", "mean"
    assert "= (1 + 2 + 4)/3 = 7/3\n" in explained(capsys, "pooling", *numbers)
    assert json.loads(explained(capsys, "pooling", *numbers, "--json"))["output"] == [[7 / 3]]


def test_separable_convolution_shows_both_steps_and_both_costs(capsys):
    given = (
        "separable", "--input", "1 2; 3 4 | 0 1; 1 0", "--kernel", "1 0; 0 1 | 1 2; 3 4",
        "--pointwise", "1 2; -1 1; 0 3",
    )  # fmt: skip
    out = explained(capsys, *given)
    assert "  z2[1,1] = 5*(-1) + 5*1 = 0\n" in out
    assert "separable    K²·M + M·N = 2²·2 + 2·3 = 14 weights" in out
    assert "H·W·M·(K² + N) = 1·1·2·(2² + 3) = 14 multiplications" in out
    assert "H·W·K²·M·N = 1·1·2²·2·3 = 24 multiplications" in out
    assert "ratio        1/N + 1/K² = 1/3 + 1/2² = 0.5833" in out
    document = json.loads(explained(capsys, *given, "--json"))
    assert document["output"] == [[[15]], [[0]], [[15]]]
    assert document["cost"] == {"parameters": 14, "macs": 14}
    assert document["cost_in_one"] == {"parameters": 24, "macs": 24}
    assert document["ratio"] == pytest.approx(14 / 24)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("convolution", "--input", "1 2; 3", "--kernel", "1"), "row 2 of the input has length 1"),
        (("convolution", "--input", "1 x", "--kernel", "1"), "--input: 'x' in row 1 is not a number"),
        (("convolution", "--input", "1e9999999", "--kernel", "1"), "'1e9999999' in row 1 is not a number"),
        (("convolution", "--input", "", "--kernel", "1"), "the input is empty"),
        (("convolution", "--input", "1 2", "--kernel", "1 2 3"), "window of 3 does not fit into 2"),
        (("convolution", "--input", "1 2", "--kernel", "1", "--stride", "1,2,3"), "--stride must be a whole"),
        (
            ("convolution", "--input", "1 2", "--kernel", "1", "--output-padding", "1"),
            "no option --output-pad",
        ),
        (("transposed", *TWO, "--output-padding", 1), "output padding must be below the larger of"),
        (("transposed", "--input", "1"), "Missing option '--kernel'"),
        (("pooling", "--input", "1 2; 3 4", "--kind", "median"), "kind must be max or mean, got 'median'"),
        (("separable", *TWO, "--pointwise", "1 2"), "rows of pointwise weights have length 2, expected 1"),
        (("lstm", "--kernel", "1 2"), "it belongs to an operation, such as `concord explain convolution`"),
        (("lstm", "--input", "1 2"), "it belongs to an operation"),
        (("transpose", *TWO), "it belongs to an operation"),
        (("poling",), "no network is named 'poling'"),
        ((), "Missing argument 'NETWORK'"),
    ],
)
def test_what_cannot_be_worked_out_is_refused(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(capsys, "explain", *arguments)
    assert (status, out) == (UsageError.exit_status, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_options_may_come_before_the_operation_and_before_the_network(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert json.loads(explained(capsys, "--json", "transposed", *TWO))["output"][1] == [6, 20, 16]
    assert json.loads(explained(capsys, "--json", "lenet5"))["network"] == "lenet5"
    assert json.loads(explained(capsys, "network", "lenet5", "--json"))["network"] == "lenet5"


def test_the_help_shows_both_uses(capsys):
    text = " ".join(explained(capsys, "--help").split())
    assert "concord explain lstm --to lstm.html" in text
    assert "concord explain transposed --input" in text


def test_the_shell_completes_operations_and_networks():
    def completed(line):
        asked = {"_CONCORD_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": "2"}
        code = "import sys; sys.argv = ['concord']; from concord.cli.app import main; main()"
        ran = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=False
        )
        return ran.stdout.split()

    assert completed("concord explain tr") == ["transposed"]
    assert "lenet5" in completed("concord explain le")


def test_numbers_and_sizes_are_read_as_typed():
    assert read_grid("--x", " +1 -2.50;\t.5 3. ; ") == ((1, -2.5), (0.5, 3))
    assert (read_size("--x", "3"), read_size("--x", "0,2")) == (3, (0, 2))


def test_the_page_shows_what_the_commands_print(capsys):
    shown = dict(block.split("\n", 1) for block in blocks(PAGE, "console"))
    printed = {line: output for line, output in shown.items() if not output.startswith("$")}
    assert len(printed) == 5
    for line, output in printed.items():
        assert explained(capsys, *shlex.split(line)[3:]) == output
