"""docs/reliability.md says what the marks of the tests say."""

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parent.parent / "tools/reliability_table.py"
NO_SUCH_PART_YET = {23, 27, 28}  # no server, no ranks


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("reliability_table", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_tool_writes(tool):
    assert tool.PAGE.read_text() == tool.page()


def test_every_fault_of_the_list_is_there_once(tool):
    assert list(tool.FAULTS) == list(range(1, 30))


def test_every_fault_has_a_test_but_for_parts_that_do_not_exist(tool):
    assert {number for number, tests in tool.held().items() if not tests} == NO_SUCH_PART_YET


def test_a_mark_that_names_no_fault_is_noticed(tool, tmp_path, monkeypatch):
    (tmp_path / "test_x.py").write_text("@pytest.mark.fault(30)\ndef test_y(): ...\n")
    monkeypatch.setattr(tool, "TESTS", tmp_path)
    with pytest.raises(KeyError):
        tool.held()


def test_several_marks_and_several_numbers_of_a_test_all_count(tool, tmp_path, monkeypatch):
    text = "@pytest.mark.fault(2, 3)\n@pytest.mark.fault(29)\n@pytest.mark.soak\ndef test_it_holds(): ...\n"
    (tmp_path / "test_x.py").write_text(text)
    monkeypatch.setattr(tool, "TESTS", tmp_path)
    assert [number for number, tests in tool.held().items() if tests == ["test_x::test_it_holds"]] == [
        2,
        3,
        29,
    ]
    assert "| `test_x::test_it_holds` |" in tool.page()
    assert tool.page().count(f"| {tool.NOT_YET} |") == 26
