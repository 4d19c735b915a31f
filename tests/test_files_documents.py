"""JSON that concord reads: what every program reads alike, or nothing."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concord.errors import CheckpointError
from concord.files.documents import LARGEST, parse_object
from concord.runs.folder import RunFolder

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
REFUSED = {
    b'{"a": NaN}': "NaN is not a number of JSON",
    b'{"a": [-Infinity]}': "-Infinity is not a number of JSON",
    b'{"a": 1e999}': "1e999 is too large",
    b'{"a": {"b": 1, "c": 2, "b": 3}}': "the key 'b' stands twice",
    b"[1]": "expected an object, got list",
    b'{"a": ' + b"[" * 200_000: "nested too deeply",
    b'{"a": ' + b"1" * 100_000 + b"}": "digits",
    b'{"a": 1': "delimiter",
    b"": "Expecting value",
    b"\xff\xfe{": "decode",
    b'{"a": "' + b"x" * LARGEST + b'"}': "more than",
}


@given(st.dictionaries(st.text(), VALUES))
def test_what_json_writes_comes_back(document):
    assert parse_object(json.dumps(document).encode()) == document


@pytest.mark.fault(19)
@given(st.binary(max_size=200))
def test_whatever_the_bytes_there_is_an_object_or_a_value_error(content):
    with suppress(ValueError):
        assert isinstance(parse_object(content), dict)


@pytest.mark.fault(19)
@pytest.mark.parametrize("content", REFUSED, ids=lambda content: repr(content[:20]))
def test_what_programs_read_differently_is_refused_with_a_reason(content):
    with pytest.raises(ValueError, match=REFUSED[content]):
        parse_object(content)


@pytest.mark.parametrize("content", REFUSED, ids=lambda content: repr(content[:20]))
def test_a_file_of_a_run_that_holds_it_is_damaged(content, tmp_path):
    (tmp_path / "interface.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"interface\.json: missing or damaged"):
        RunFolder(tmp_path).json("interface.json")
    (tmp_path / "metrics.jsonl").write_bytes(content + b"\n" if content else b"x\n")
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: damaged"):
        RunFolder(tmp_path).rows()
