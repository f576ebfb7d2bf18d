"""The checks of `clients.py` over rows that are made up: what they must find, they find."""

import types

import psycopg
import pytest

from clients import Clients, Crowd, Row


@pytest.fixture
def clients():
    made = Clients(types.SimpleNamespace(postgres_nodes=[]))
    yield made
    made.stop()


def acknowledged(clients, *rows):
    """(node, timeline, sent, received) of each."""
    for number, (node, timeline, sent, received) in enumerate(rows):
        clients.rows.append(Row(number, "a", sent, node, timeline, received=received))


def ids(rows):
    return [row.id for row in rows]


def test_a_row_sent_to_the_old_timeline_after_the_next_ones_first_is_found(clients):
    acknowledged(
        clients,
        ("pg1", 1, 1.0, 1.1),
        ("pg2", 2, 2.0, 2.1),
        ("pg1", 1, 2.05, 2.06),  # Sent and answered before.
        ("pg1", 1, 2.2, 2.3),
        ("pg2", 2, 2.4, 2.5),
    )
    assert ids(clients.overlaps()) == [3]
    assert clients.late() == []


def test_two_nodes_on_timelines_of_one_number_are_two_writers(clients):
    acknowledged(
        clients,
        ("pg1", 2, 1.0, 1.1),
        ("pg2", 2, 2.0, 2.1),  # The next one's rows are right,
        ("pg2", 2, 2.2, 2.3),
        ("pg1", 2, 2.2, 2.3),  # the one's before are not,
        ("pg1", 2, 2.05, 2.2),  # and this one was late.
    )
    assert ids(clients.overlaps()) == [3]
    assert [(row.id, at) for row, at in clients.late()] == [(4, 2.1)]


class Dead:
    """A session whose server was killed: one of its calls fails, or none yet."""

    def __init__(self, fails):
        self.fails, self.closed, self.pg = fails, False, self

    def send(self, row):
        self.call("send")

    def flush(self):
        self.call("flush")

    def consume_input(self):
        self.call("consume_input")

    def call(self, name):
        if name == self.fails:
            raise psycopg.OperationalError(name)

    def close(self):
        self.closed = True

    def take(self):
        return False


def test_a_crowd_counts_what_it_could_send(clients):
    crowd = Crowd(clients, types.SimpleNamespace(netns=None))
    crowd.sessions = [Dead("send"), Dead("flush"), Dead(None), Dead("consume_input")]
    crowd.send_all()
    assert crowd.tried == 1
    assert [s.closed for s in crowd.sessions] == [True, True, False, True]
    assert clients.left == [crowd.sessions[2]]
