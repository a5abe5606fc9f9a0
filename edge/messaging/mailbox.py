"""A device's mailbox: sends its messages, collects its neighbours', and repairs what the network loses.

Theory of operation
===================

The transport delivers each payload at least once, or late, or never, and tells nobody which. A round needs at most one
message of each kind from each neighbour, and goes on without those that do not come before its deadline. So nothing
here is acknowledged: the *receiver* knows what it needs, and asks for it. A sender only keeps what may be asked for.

Parts, and what each may know
-----------------------------

    Outbox          what was sent in the last KEPT_ROUNDS rounds, and delta bases. No clock, no transport.
    Inbox           what came: checked, sorted, counted. No clock, no transport, not what was sent.
    Retransmitter   sends requests and answers them: reads both boxes and the clock, and sends.
    Collector       waits for one round's messages and decides when something is requested. Sends nothing itself.
    linger          waits after the last round and decides when a device may leave. Sends nothing itself.
    Mailbox         composes them and reads the transport: a request goes to the retransmitter, all else to the
                    inbox. It decides nothing.

Nothing here runs by itself. Collecting and lingering are generators that yield a `Waiting` wherever they cannot go
on; the caller sleeps, or turns to another device, and resumes them. Requests are answered only then, so that a device
that is computing answers when it has finished. There are no threads and no locks: the transport's receive queue is
the only thing that two threads touch.

The life of one message
-----------------------

1. `Mailbox.send`: the outbox codes it, as a delta if the coding has one and the receiver got the base, remembers it
   as the receiver will decode it, and the transport carries its payloads (one, or several chunks).
2. It arrives, and waits in the transport's queue until the receiver's mailbox reads.
3. The inbox refuses and counts it (`edge.messaging.inbox` has the causes), or keeps it: a message of the open round,
   or of one of the next MAX_EARLY rounds. The last chunk completes it. A delta whose base is not here is dropped and
   noted.
4. The collector takes it, once, when its round is open and the protocol waits for it.
5. If it does not come, the receiver requests it (rules below). The sender's retransmitter finds it in the outbox and
   sends the missing chunks, or all of it coded without a base.
6. Two rounds later its sender forgets it, and its receiver counts a copy of it as late.

Requests
--------

A request (topic kind `RETRANSMIT`, docs/wire.md) names a kind and a round. It is sent

- when REQUEST_INTERVAL seconds have passed without the message, then after longer intervals (`RequestSchedule`);
- at once, when its delta came without the base: waiting would bring nothing else;
- at once, when its sender has itself asked for a later round: it has sent this one, and it was lost.

A request also tells how far its sender is. A request with a digest of zeros, for a round that its sender has reached,
is an *announcement*: the receiver has sent nothing of that round, and so has nothing to answer. It goes to a
neighbour that asks for a round no longer kept, and from a device that has finished to its neighbours, for the round
after the last.

Only the device that sent a message can answer for it, because only the topic, which the broker guards, tells who sent
it.

Invariants
----------

- Any payload may be lost, late, repeated or out of order; then a round may take longer, and at its deadline counts a
  timeout. No loss stops a device, and none changes the values of a message that does arrive.
- A message counts once, in its own round, with the values that its sender believes the receiver decoded (`send` returns
  them), however it was coded and however often it was sent.
- What was sent can be asked for until its sender is KEPT_ROUNDS rounds further, also after its sender was killed: the
  checkpoint holds the outbox. A receiver further behind stops waiting at once, and joins the others' round
  (`edge.node`).
- A neighbour costs bounded memory (`Inbox`) and bounded power: an answer in ANSWER_INTERVAL for a message, whatever
  it asks.
- Nothing that a neighbour sends raises. A malformed request is counted like any malformed message.
- A device that waits reads its mail at every turn, so two that wait for each other always answer each other.
- A device may leave once every neighbour that it has heard of has announced that it has finished, or after LINGER
  seconds without a request, and at the latest after the round timeout, because the last announcement may be lost and
  is not repeated by somebody who has left. Neighbours it has never heard of are not waited for.

The constants REQUEST_INTERVAL, LONGEST_REQUEST_INTERVAL, ANSWER_INTERVAL, KEPT_ROUNDS, MAX_EARLY and LINGER say
beside their definitions why they are what they are.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

from edge.codec import RETRANSMIT
from edge.interfaces import Array, Exchange, Message, NodeId, Transport
from edge.messaging.collector import Collector, Received, Waiting
from edge.messaging.inbox import Inbox, InboxSnapshot
from edge.messaging.linger import linger
from edge.messaging.outbox import Outbox, OutboxSnapshot
from edge.messaging.retransmission import Retransmitter, RetransmitterSnapshot

__all__ = ["Mailbox", "MailboxSnapshot", "Received", "Waiting"]


@dataclass(frozen=True)
class MailboxSnapshot:
    """A mailbox at one moment, between two rounds; picklable."""

    inbox: InboxSnapshot
    outbox: OutboxSnapshot
    retransmitter: RetransmitterSnapshot


class Mailbox:
    """One device's correspondence; the module describes how it works.

    Args:
        transport: carries payloads.
        inbox: knows what each neighbour may send.
        coding: kind of message -> how its body is coded (`edge.codec`).
        now: the device's clock, in seconds; it must not go back.
    """

    def __init__(self, transport: Transport, inbox: Inbox, coding: Mapping[str, str], now: Callable[[], float]) -> None:
        self.transport = transport
        self.inbox = inbox
        self.now = now
        self._outbox = Outbox(coding)
        self._retransmitter = Retransmitter(transport, inbox, self._outbox, now)
        self._collector = Collector(inbox, self._retransmitter, self.read, now)

    def send(self, exchange: Exchange) -> dict[NodeId, dict[str, Message]]:
        """Send all messages of an exchange.

        Returns:
            By receiver and kind, the message as it will be decoded there: after quantisation.

        Raises:
            ConfigError: a coding that does not exist. ValueError: a message that the wire format cannot carry.
        """
        sent: dict[NodeId, dict[str, Message]] = {}
        for coded in self._outbox.code(exchange):
            sent.setdefault(coded.receiver, {})[coded.message.kind] = coded.message
            for payload in coded.payloads:
                self.transport.send(coded.receiver, coded.message.kind, payload)
        return sent

    def collect(
        self, wait_for: Mapping[NodeId, Sequence[str]], number: int, deadline: float
    ) -> Generator[Waiting, None, Received]:
        """Receive the messages of round `number`, which the inbox has open.

        Args:
            wait_for: sender -> kinds of message.
            number: the round.
            deadline: seconds of the device's clock.

        Yields:
            What it waits for, whenever it cannot go on.

        Returns:
            Sender -> kind -> message, as soon as all are there, or nobody who is missing keeps its message any longer,
            or the deadline has passed.
        """
        return self._collector.collect(wait_for, number, deadline)

    def linger(self, last: int, round_timeout: float) -> Generator[Waiting, None, None]:
        """After round `last`: announce that this device has finished, and answer until its neighbours have, too.

        Without it, a neighbour that lost the last message would ask in vain.

        Args:
            last: the last round.
            round_timeout: seconds after which it ends at the latest.

        Yields:
            What it waits for, until every neighbour it has heard of has finished, or nobody asks any more.
        """
        return linger(self.inbox, self._retransmitter, self.read, self.now, last=last, round_timeout=round_timeout)

    def read(self) -> None:
        """Take in what the transport has received: answer requests, put messages into the inbox."""
        for delivery in self.transport.receive():
            if delivery.kind == RETRANSMIT:
                self._retransmitter.answer(delivery)
            else:
                self.inbox.put(delivery)

    def state(self) -> dict[str, Array]:
        """What can still be asked for, as arrays by name: the part of a mailbox that a checkpoint keeps."""
        return self._outbox.state()

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Put back what `state` gave. Raises ValueError: it is of another form."""
        self._outbox.load_state(values)

    def snapshot(self) -> MailboxSnapshot:
        """A copy of all it holds, its inbox's contents included, for `restore`, here or in another process."""
        return MailboxSnapshot(self.inbox.snapshot(), self._outbox.snapshot(), self._retransmitter.snapshot())

    def restore(self, snapshot: MailboxSnapshot) -> None:
        """Put back what `snapshot` gave."""
        self.inbox.restore(snapshot.inbox)
        self._outbox.restore(snapshot.outbox)
        self._retransmitter.restore(snapshot.retransmitter)
