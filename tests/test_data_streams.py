"""A text in streams: which symbol is where, beside slices of a string."""

import pytest
import torch

from concord.data.sequences.streams import Streams
from concord.data.sequences.text import encoded
from concord.errors import DataError, UsageError

TEXT = "abcdefghijklmnopqrstuvwxyz"
ALPHABET = tuple(TEXT)


def streams(text=TEXT, steps=4, count=3):
    return Streams(encoded(text, ALPHABET), ALPHABET, steps, count)


def words(rows):
    return ["".join(ALPHABET[k] if k >= 0 else "." for k in row) for row in rows.tolist()]


def test_batches_in_stored_order_read_all_streams_side_by_side():
    """25 symbols have one behind them: three streams of 8, abcdefgh, ijklmnop, qrstuvwx."""
    data = streams()
    assert len(data) == 6
    (x, begins), y = data.batch(torch.arange(3), None)
    assert (words(x), words(y)) == (["abcd", "ijkl", "qrst"], ["bcde", "jklm", "rstu"])
    assert begins.tolist() == [True, True, True]
    (x, begins), y = data.batch(torch.tensor([3, 5]), None)
    assert (words(x), words(y)) == (["efgh", "uvwx"], ["fghi", "vwxy"])
    assert begins.tolist() == [False, False]
    assert data.name(4) == "characters 12 to 15"


@pytest.mark.parametrize("steps", [1, 3, 5, 8, 30])
@pytest.mark.parametrize("count", [1, 2, 4, 25])
def test_every_symbol_is_asked_for_once_and_what_is_padded_never(steps, count):
    (x, _), y = streams(steps=steps, count=count).batch(
        torch.arange(len(streams(steps=steps, count=count))), None
    )
    asked = sorted("".join(words(y)).replace(".", ""))
    whole = 25 // count * count
    assert asked == list(TEXT[1 : whole + 1])
    assert [ALPHABET[k] for k in (y[y >= 0] - 1).tolist()] == [ALPHABET[k] for k in x[y >= 0].tolist()]
    assert not x[y < 0].any()
    assert (y >= 0).any(1).all()


def test_fingerprints_differ_with_text_steps_and_streams():
    others = [streams(), streams(TEXT[::-1]), streams(steps=5), streams(count=2)]
    assert len({data.fingerprint for data in others}) == 4
    assert streams().fingerprint == streams().fingerprint
    assert streams().spec.shape == ((4,), ())


def test_sizes_that_describe_no_streams_are_refused():
    for sizes in ({"steps": 0}, {"count": 0}):
        with pytest.raises(UsageError, match="at least 1"):
            streams(**sizes)
    with pytest.raises(DataError, match="3 symbols are too few for 3 streams"):
        streams("abc")
