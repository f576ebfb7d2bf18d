"""The watch over every test's cluster can see what it is there for."""

import json

from veche import Reply, Watch


class Says:
    """A node that answers /primary with these, one after the other: an epoch, or None."""

    def __init__(self, name, *epochs):
        self.name, self.epochs = name, list(epochs)

    def http(self, path, timeout):
        assert path == "/primary" and timeout
        epoch = self.epochs.pop(0)
        body = json.dumps({"veche": {"epoch": epoch}}).encode()
        return Reply(503 if epoch is None else 200, {}, body)


def found(*nodes):
    watch = Watch(nodes)
    watch.look()
    return watch.found


def test_two_primaries_at_one_moment_are_seen():
    assert found(Says("pg1", 4, 4), Says("pg2", 5))
    assert found(Says("pg1", None), Says("pg2", 4, 4), Says("pg3", 5))


def test_one_primary_after_the_other_is_none():
    assert not found(Says("pg1", 4), Says("pg2", None))
    assert not found(Says("pg1", 4, None), Says("pg2", 5))  # It ended in between.
    assert not found(Says("pg1", 4, 6), Says("pg2", 5))  # And has begun again.
