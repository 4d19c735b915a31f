"""For all tests: one thread, caches of their own, torch's switches as found, soak tests only on request."""

from collections import Counter
from itertools import count

import pytest
import torch

ATTENTION = ("flash", "mem_efficient", "cudnn")
NUMBERS = count()


def pytest_addoption(parser):
    parser.addoption("--soak", action="store_true", help="run the tests marked soak too")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--soak"):
        skip = pytest.mark.skip(reason="takes minutes; give --soak")
        for item in items:
            if "soak" in item.keywords:
                item.add_marker(skip)


def pytest_terminal_summary(terminalreporter):
    """Why tests were skipped: a line for each reason, whatever options were given."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports)
    for reason, number in reasons.most_common():
        terminalreporter.write_line(f"{number} skipped: {reason}")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """No test writes into the cache folder of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONCORD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path_factory):
    """Nothing is kept from one test to the next."""
    folder = tmp_path_factory.getbasetemp() / f"cache-{next(NUMBERS)}"  # made when something is kept
    monkeypatch.setenv("CONCORD_CACHE", str(folder))


@pytest.fixture(autouse=True)
def switches_as_found():
    """A training in this process settles threads and determinism for itself."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    attention = {name: getattr(torch.backends.cuda, f"{name}_sdp_enabled")() for name in ATTENTION}
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    for name, enabled in attention.items():
        getattr(torch.backends.cuda, f"enable_{name}_sdp")(enabled)
