"""Texts and a user's own sequences: what is read, and every kind of bad file with file and line."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from concord.data.dataset import Draw
from concord.data.sequences.files import Known, read
from concord.data.sequences.text import characters, encoded, read_text
from concord.errors import DataError


def written(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_numbers_of_a_csv_by_hand(tmp_path):
    found = read(written(tmp_path, "a.csv", "up, 1,2.5,3\ndown,3,-1\n\nup,4\n"))
    assert found.classes == ("down", "up")
    assert found.problem.y.tolist() == [1, 0, 1]
    assert found.problem.lengths.tolist() == [3, 2, 1]
    assert found.problem.x[..., 0].tolist() == [[1, 2.5, 3], [3, -1, 0], [4, 0, 0]]
    assert found.names[1].endswith("a.csv, line 2")


def test_texts_of_a_csv_may_hold_commas_quotes_and_lines(tmp_path):
    found = read(written(tmp_path, "a.csv", '1,"a, ""b""\nc"\n2,xyz\n'))
    assert found.classes == ("1", "2")
    assert found.problem.lengths.tolist() == [8, 3]
    assert "".join(found.alphabet[k] for k in found.problem.x[0]) == 'a, "b"\nc'


def test_json_lines_may_have_several_numbers_and_a_label_for_each_step(tmp_path):
    lines = [{"x": [[1, 2], [3, 4], [5, 6]], "y": [10, 9, 10]}, {"x": [[7, 8]], "y": [9]}]
    found = read(written(tmp_path, "a.jsonl", "\n".join(map(json.dumps, lines))))
    assert found.classes == ("9", "10")  # in the order of numbers
    assert found.problem.y.tolist() == [[1, 0, 1], [0, -1, -1]]
    assert found.problem.x.tolist() == [[[1, 2], [3, 4], [5, 6]], [[7, 8], [0, 0], [0, 0]]]


def test_a_folder_of_texts_for_each_class(tmp_path):
    for name, texts in (("pos", ("good", "fine")), ("neg", ("bad",))):
        (tmp_path / name).mkdir()
        for k, text in enumerate(texts):
            (tmp_path / name / f"{k}.txt").write_text(text)
    found = read(tmp_path)
    assert (found.classes, found.problem.y.tolist()) == (("neg", "pos"), [0, 1, 1])
    assert found.problem.lengths.tolist() == [3, 4, 4]


BAD = {
    "missing label": ("a.csv", "up,1\n,2\n", r"line 2: the label is missing"),
    "no sequence": ("a.csv", "up,1\ndown\n", r"line 2: label 'down' has no sequence"),
    "a word among numbers": ("a.csv", "up,1,two,3\n", r"line 1: value 2 is 'two', expected a number"),
    "not a number": ("a.csv", "up,1,nan\n", r"line 1: value 2 is 'nan'"),
    "text and numbers": (
        "a.csv",
        "up,1,2\ndown,hello\n",
        r"line 2: value 1 is 'hello', expected a number",
    ),
    "text and numbers of JSON": (
        "a.jsonl",
        '{"x": [1], "y": 1}\n{"x": "ab", "y": 2}\n',
        r"line 2: the sequence is text, in .*line 1 it is numbers",
    ),
    "empty": ("a.csv", "", r"a\.csv is empty"),
    "blank lines": ("a.csv", "\n\n", r"holds no sequence"),
    "not UTF-8": ("a.csv", b"up,1\ndown,caf\xe9\n", r"a\.csv, line 2: byte 13 is not UTF-8"),
    "not JSON": ("a.jsonl", '{"x": [1], "y": 1}\n{x}\n', r"line 2: not JSON"),
    "no y": ("a.jsonl", '{"x": [1]}\n', r'line 1: expected \{"x": sequence, "y": label\}'),
    "an empty x": ("a.jsonl", '{"x": [], "y": 1}\n', r"line 1: x is text or a list"),
    "ragged steps": (
        "a.jsonl",
        '{"x": [[1, 2], [3]], "y": 1}\n',
        r"line 1: step 2 has 1 numbers, the first has 2",
    ),
    "other widths": (
        "a.jsonl",
        '{"x": [[1, 2]], "y": 1}\n{"x": [3], "y": 1}\n',
        r"line 2: 1 numbers for each step",
    ),
    "NaN": ("a.jsonl", '{"x": [1, NaN], "y": 1}\n', r"line 1: step 2 has 'nan'"),
    "beyond all floats": ("a.jsonl", '{"x": [1' + "0" * 400 + '], "y": 1}', r"line 1: step 1 has '10+'"),
    "beyond float32": (
        "a.csv",
        "up,1,2\ndown,1,1e300\n",
        r"line 2: value 2 is '1e300', expected .* to 1e\+30",
    ),
    "names of columns": ("a.csv", "Label,text\npos,good\nneg,bad\n", r"line 1 names columns; remove it"),
    "names of numbers": ("a.csv", "kind,x1,x2\nup,1,2\ndown,2,1\n", r"line 1 names columns; remove it"),
    "a text with commas": (
        "a.csv",
        "pos,good\nneg,bad, very\n",
        r"line 2: 2 values, expected one text; quote",
    ),
    "an empty label": ("a.jsonl", '{"x": "ab", "y": ["a", ""]}\n', r"line 1: a label is empty"),
    "half a character": (
        "a.jsonl",
        '{"x": "a\\ud800", "y": "a"}\n',
        r"line 1: \\ud800 is half of a character",
    ),
    "half of a label": ("a.jsonl", '{"x": "a", "y": "\\udfff"}\n', r"line 1: \\udfff is half of a character"),
    "true": ("a.jsonl", '{"x": [1, true], "y": 1}\n', r"line 1: step 2 has 'True'"),
    "a label of 1.5": ("a.jsonl", '{"x": [1], "y": 1.5}\n', r"a label is text or a whole number"),
    "too few labels": (
        "a.jsonl",
        '{"x": [1, 2], "y": [1]}\n',
        r"line 1: 1 label for 2 steps; a list has one for each step",
    ),
    "mixed labels": ("a.jsonl", '{"x": [1], "y": 1}\n{"x": [1], "y": [1]}\n', r"line 2: the label is a list"),
    "another suffix": ("a.dat", "up,1\n", r"expected a \.csv or \.jsonl file"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_refused_with_its_line(kind, tmp_path):
    name, content, words = BAD[kind]
    with pytest.raises(DataError, match=words):
        read(written(tmp_path, name, content))


def test_missing_files_and_lone_classes_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "none.csv")
    (tmp_path / "one").mkdir()
    with pytest.raises(DataError, match="at least 2 classes, got 1"):
        read(tmp_path)
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / "A.TXT").write_text("a")
    (tmp_path / "two" / "b.md").write_text("b")
    with pytest.raises(DataError, match=r"two holds no \.txt file"):
        read(tmp_path)
    (tmp_path / "two" / "b.md").rename(tmp_path / "two" / "b.txt")
    (tmp_path / "two" / "._b.txt").write_bytes(b"\xff")  # what other systems keep beside a file
    assert read(tmp_path).classes == ("one", "two")


def test_digits_alone_are_a_text_unless_numbers_are_expected(tmp_path):
    path = written(tmp_path, "a.csv", "odd,0111\neven,11\n")
    found = read(path)
    assert (found.alphabet, found.problem.lengths.tolist()) == (("0", "1"), [4, 2])
    numbers = read(path, known=Known((), ("even", "odd")))
    assert numbers.problem.x.flatten().tolist() == [111, 11]
    mixed = read(written(tmp_path, "b.csv", "odd,0111\neven,abc\n"))
    assert "".join(mixed.alphabet) == "01abc"


def test_long_texts_and_separators_of_other_scripts_do_not_end_a_line(tmp_path):
    assert read(written(tmp_path, "a.csv", "a," + "x" * 200_000)).problem.lengths.tolist() == [200_000]
    text = "a\u2028b\u0085c\x0bd"
    plain = read(written(tmp_path, "b.csv", f"a,{text}\nb,e\n"))
    lines = [json.dumps({"x": text, "y": "a"}, ensure_ascii=False), '{"x": "e", "y": "b"}']
    for found in (plain, read(written(tmp_path, "c.jsonl", "\r\n".join(lines)))):
        assert found.problem.lengths.tolist() == [7, 1]
        assert found.names[1].endswith("line 2")


@given(st.binary(max_size=60), st.sampled_from([".csv", ".jsonl"]))
def test_any_bytes_are_read_or_refused(content, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a{suffix}")
        path.write_bytes(content)
        with suppress(DataError):
            found = read(path)
            assert len(found.problem.x) == len(found.names) == len(found.problem.y)


# --- characters ------------------------------------------------------------------

TEXT = "".join(chr(97 + (i * i) % 23) for i in range(3000))


def test_windows_hold_the_text_and_the_character_behind_each_step():
    parts = characters(TEXT, 50, valid=0.1, test=0.2)
    whole = "".join(
        parts.train.alphabet[k] for part in (parts.train, parts.valid, parts.test) for k in part.symbols
    )
    assert whole == TEXT
    assert [len(p.symbols) for p in (parts.train, parts.valid, parts.test)] == [2100, 300, 600]
    x, y = parts.valid.batch(torch.tensor([0, 3]), None)
    symbols = parts.valid.symbols
    for row, begin in ((0, 0), (1, 150)):
        assert torch.equal(x[row], symbols[begin : begin + 50])
        assert torch.equal(y[row], symbols[begin + 1 : begin + 51])
    assert len(parts.valid) == 5  # 300 characters hold 5 windows of 51


def test_in_training_a_window_begins_elsewhere_in_each_epoch():
    train = characters(TEXT, 50).train
    index = torch.arange(len(train))
    plain, _ = train.batch(index, None)
    begins = []
    for epoch in (0, 1):
        x, y = train.batch(index, Draw(5, epoch))
        assert torch.equal(x[:, 1:], y[:, :-1])
        again, _ = train.batch(index[3:5], Draw(5, epoch))
        assert torch.equal(again, x[3:5])
        begins.append(x)
    assert not torch.equal(begins[0], begins[1])
    assert not torch.equal(begins[0], plain)


def test_texts_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(DataError, match="validation part has 10 characters, fewer than the 51 of one window"):
        characters("a" * 100, 50)
    with pytest.raises(DataError, match=r"character 3 is 'z', which the training text lacks"):
        encoded("abz", ("a", "b"))
    with pytest.raises(DataError, match="is empty"):
        read_text(written(tmp_path, "a.txt", ""))
    assert read_text(written(tmp_path, "b.txt", b"\xef\xbb\xbfabc")) == "abc"
