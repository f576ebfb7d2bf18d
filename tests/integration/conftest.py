"""Fixtures of the integration tests."""

import signal

import pytest

from shm import private_memory
from veche import Cluster


# What takes longest begins first.
LONG_FILES = (
    "test_kill_points.py",
    "test_network.py",
    "test_second_writer.py",
    "test_disk.py",
    "test_haproxy.py",
    "test_failover.py",
)


def pytest_configure(config):
    private_memory()
    # As Ctrl-C, so that clusters, namespaces and mounts are cleaned up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.pluginmanager.register(Measured(config))


class Measured:
    """Shows what tests have measured, also when they pass."""

    def __init__(self, config):
        self.config = config

    def pytest_runtest_logreport(self, report):
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is None:
            return  # A worker of xdist: its controller gets the report as well.
        texts = [text for name, text in report.user_properties if name == "measured"]
        if report.when == "call" and texts:
            test = report.nodeid.partition("::")[2].partition("@")[0]
            terminal.ensure_newline()
            for text in texts:
                terminal.write_line(f"  measured [{test}]: {text}")


def shares_a_cluster(item):
    """Whether it has a fixture that must be made once, not once in every worker."""
    known = item._fixtureinfo.name2fixturedefs
    return any(known[name][-1].scope == "module" for name in item.fixturenames if name in known)


# Before xdist's own, which reads the mark.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if shares_a_cluster(item):
            item.add_marker(pytest.mark.xdist_group(item.path.name))
    items.sort(  # Stable: the order within a file stays.
        key=lambda i: LONG_FILES.index(i.path.name) if i.path.name in LONG_FILES else len(LONG_FILES)
    )


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.failed_in_call = outcome.get_result().failed


@pytest.fixture
def cluster(request):
    """Two PostgreSQL nodes and a witness, not started."""
    with Cluster() as c:
        yield c
        if getattr(request.node, "failed_in_call", False):
            c.failed = True


@pytest.fixture
def report(request):
    """Records a measured value; `Measured` shows it."""

    def say(text):
        request.node.user_properties.append(("measured", text))

    return say
