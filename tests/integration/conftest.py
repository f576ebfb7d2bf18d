"""Fixtures of the integration tests."""

import signal

import pytest

from veche import Cluster


def pytest_configure():
    # As Ctrl-C, so that clusters, namespaces and mounts are cleaned up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


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
def report(request, capsys):
    """Prints a measured value so that it shows also when the test passes."""

    def say(text):
        with capsys.disabled():
            print(f"\n  measured [{request.node.name}]: {text}", flush=True)

    return say
