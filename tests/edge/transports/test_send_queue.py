"""What waits for a broker: bounded in bytes, the oldest dropped first, and known by receiver."""

import threading

import pytest

from edge.transports import _send_queue
from edge.transports._send_queue import LIMIT, WINDOW_MESSAGES, Outgoing, SendQueue


class Library:
    """What paho is to the queue: it numbers what it takes."""

    def __init__(self) -> None:
        self.taken: list[Outgoing] = []
        self.dropped = 0
        self.queue = SendQueue(self.publish, self.drop)

    def publish(self, message: Outgoing) -> int | None:
        self.taken.append(message)
        return len(self.taken)

    def drop(self, count: int) -> None:
        self.dropped += count


def message(number: int, size: int = 1000, receiver: str = "b") -> Outgoing:
    return Outgoing(receiver, f"t/{number}", bytes(size))


def test_while_the_broker_is_away_the_oldest_go_first() -> None:
    """Half of a gigabyte is handed over; what stays is LIMIT bytes, the newest."""
    library, payload = Library(), bytes(500_000)
    for number in range(1000):
        library.queue.put(Outgoing("b", f"t/{number}", payload))
    assert library.taken == []
    assert library.queue.backlog("b") == LIMIT
    assert library.dropped == 1000 - LIMIT // 500_000
    library.queue.connected = True
    library.queue.pump()
    for number in range(1, LIMIT // 500_000 + 1):
        library.queue.acknowledged(number)
    assert library.queue.backlog("b") == 0
    assert [m.topic for m in library.taken] == [f"t/{n}" for n in range(library.dropped, 1000)]


def test_one_message_waits_however_long_it_is() -> None:
    library = Library()
    library.queue.put(message(1, LIMIT + 1))
    assert library.dropped == 0
    library.queue.put(message(2))
    assert (library.dropped, library.queue.backlog("b")) == (1, 1000)


def test_only_so_much_is_on_its_way() -> None:
    library = Library()
    library.queue.connected = True
    for number in range(2 * WINDOW_MESSAGES):
        library.queue.put(message(number))
    assert len(library.taken) == WINDOW_MESSAGES
    library.queue.acknowledged(1)
    assert len(library.taken) == WINDOW_MESSAGES + 1
    library.queue.acknowledged(10_000)  # of something else, e.g. telemetry
    assert len(library.taken) == WINDOW_MESSAGES + 1


def test_what_has_not_left_is_known_by_receiver() -> None:
    library = Library()
    library.queue.connected = True
    library.queue.put(message(1, receiver="b"))
    library.queue.put(message(2, receiver="c"))
    assert (library.queue.backlog("b"), library.queue.backlog("c"), library.queue.backlog("d")) == (1000, 1000, 0)
    library.queue.acknowledged(1)
    assert (library.queue.backlog("b"), library.queue.backlog("c")) == (0, 1000)
    assert not library.queue.drain(0)
    library.queue.acknowledged(2)
    assert library.queue.drain(0)


def test_an_acknowledgement_may_come_before_its_number_is_known() -> None:
    library = Library()

    def publish(message: Outgoing) -> int:
        library.taken.append(message)
        other = threading.Thread(target=library.queue.acknowledged, args=(len(library.taken),))
        other.start()
        other.join()
        return len(library.taken)

    library.queue.publish = publish
    library.queue.connected = True
    library.queue.put(message(1))
    assert library.queue.drain(0)


def test_a_library_that_fails_does_not_block_those_after_it() -> None:
    library = Library()

    def fails(_message: Outgoing) -> int:
        raise ValueError("no")

    library.queue.publish, library.queue.connected = fails, True
    with pytest.raises(ValueError, match="no"):
        library.queue.put(message(1))
    library.queue.publish = library.publish
    library.queue.put(message(2))
    assert [m.topic for m in library.taken] == ["t/2"]
    assert _send_queue.LIMIT < 100_000_000
