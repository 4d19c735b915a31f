"""The examples in a real Jupyter kernel: one quiet line, Ctrl-C, short results."""

import time
from queue import Empty

import pytest
from python_made import EXAMPLES, START, quicker, write_photos

manager_of = pytest.importorskip("jupyter_client.manager", reason="needs the extra dev")
SLOW = """
import time

class Waiting(Small):
    def forward(self, x):
        time.sleep(0.002)
        return super().forward(x)

slow = concord.Ensemble({"a": Waiting(), "b": Small()}, consensus="l2", weight=0.1)
before = slow["b"].dense.weight.detach().clone()
slow.fit((x, y), epochs=100000)
"""


class Kernel:
    """One kernel, and what its cells gave."""

    def __init__(self, client):
        self.client = client

    def run(self, code, *, seconds=120, while_running=lambda: None):
        """The messages of one cell, in order."""
        asked = self.client.execute(code)
        found, deadline = [], time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except Empty:
                continue
            if message["parent_header"].get("msg_id") != asked:
                continue
            found.append((message["msg_type"], message["content"]))
            if message["msg_type"] == "update_display_data":
                while_running()
            if found[-1] == ("status", {"execution_state": "idle"}):
                return found
        raise AssertionError(f"the cell did not end in {seconds} seconds: {found[-3:]}")

    def value(self, code):
        """The text of the last line of a cell."""
        found = self.run(code)
        assert not [content for kind, content in found if kind == "error"], found
        return next(content["data"]["text/plain"] for kind, content in found if kind == "execute_result")


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    home = tmp_path_factory.mktemp("notebook")
    kernels = pytest.MonkeyPatch()
    kernels.setenv("IPYTHONDIR", str(home / "ipython"))
    kernels.setenv("JUPYTER_DATA_DIR", str(home / "jupyter"))
    manager, client = manager_of.start_new_kernel(kernel_name="python3", cwd=str(home))
    kernel = Kernel(client)
    write_photos(home / "photos/cat")
    kernel.run("import torch; torch.set_num_threads(1)" + START)
    yield manager, kernel
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    kernels.undo()


def kinds(messages):
    return [kind for kind, _ in messages if kind not in ("status", "execute_input")]


def test_the_first_example_shows_one_line_that_is_rewritten(started):
    _, kernel = started
    messages = kernel.run(quicker(EXAMPLES[0]))
    assert not [content for kind, content in messages if kind == "error"]
    shown = [content for kind, content in messages if kind == "display_data"]
    assert len(shown) == 1
    updates = [content for kind, content in messages if kind == "update_display_data"]
    assert updates
    assert {content["transient"]["display_id"] for content in updates} == {
        shown[0]["transient"]["display_id"]
    }
    lines = [content["data"]["text/plain"] for content in updates]
    assert all("\n" not in line and len(line) < 120 for line in lines)
    assert lines[-1].startswith("epoch 3/3")
    assert "valid error" in lines[-1]
    streams = [content["text"] for kind, content in messages if kind == "stream"]
    assert len("".join(streams).splitlines()) == 1  # what the example prints itself
    assert {content["name"] for kind, content in messages if kind == "stream"} == {"stdout"}


def test_all_examples_run_in_cells(started):
    pytest.importorskip("onnxruntime", reason="one example exports to ONNX: needs the extra export")
    _, kernel = started
    for cell in split(EXAMPLES):
        messages = kernel.run(cell)
        assert not [content for kind, content in messages if kind == "error"], cell
        assert {content["name"] for kind, content in messages if kind == "stream"} <= {"stdout"}, cell


def split(examples):
    """The examples made quicker together, a cell each."""
    mark = "\n# next cell\n"
    return quicker(mark.join(examples)).split(mark)


def test_results_are_short(started):
    _, kernel = started
    for name, most in (
        ("ensemble", 100),
        ("history", 60),
        ("scores", 150),
        ("history.epochs[0]", 700),
        ("ensemble.member('small')", 80),
    ):
        assert len(kernel.value(name)) <= most, kernel.value(name)


def test_an_interrupt_leaves_the_kernel_and_the_weights(started):
    manager, kernel = started
    sent = []

    def interrupt():
        if not sent:
            sent.append(True)
            manager.interrupt_kernel()

    messages = kernel.run(SLOW, while_running=interrupt)
    (error,) = [content for kind, content in messages if kind == "error"]
    assert error["ename"] == "KeyboardInterrupt"
    assert kernel.value("bool((slow['b'].dense.weight != before).any())") == "True"
    assert (
        kernel.value("all(bool(p.isfinite().all()) for m in slow.members.values() for p in m.parameters())")
        == "True"
    )
    assert (
        kernel.value("len(concord.Ensemble(slow.members, task=concord.Classify(3)).fit((x, y), epochs=1))")
        == "1"
    )
    state = kernel.value("[torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()]")
    assert state == "[1, False]"
