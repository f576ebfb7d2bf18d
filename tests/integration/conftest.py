"""Fixtures of the integration tests."""

import pytest

from veche import Cluster


@pytest.fixture
def cluster():
    """Two PostgreSQL nodes and a witness, not started."""
    with Cluster() as c:
        yield c


@pytest.fixture
def report(request, capsys):
    """Prints a measured value so that it shows also when the test passes."""

    def say(text):
        with capsys.disabled():
            print(f"\n  measured [{request.node.name}]: {text}", flush=True)

    return say
