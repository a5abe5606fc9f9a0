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
    Greeter         tells neighbours which run this device is in, and knows theirs.
    join            waits before the first round until the device is in a run. Sends nothing itself.
    linger          waits after the last round and decides when a device may leave. Sends nothing itself.
    Mailbox         composes them and reads the transport: a request goes to the retransmitter, a greeting to the
                    greeter, all else to the inbox. It decides nothing.

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

Who is asked for a message of a past round that it has not sent, because it was further then, says so (a request with a
digest of 0xff bytes); the other then waits no longer, and catches up round by round.

Only the device that sent a message can answer for it, because only the topic, which the broker guards, tells who sent
it.

Runs
----

A broker keeps messages for a day, so that a fleet that was started anew would be sent those of the run before. Every
message therefore names its run, and the inbox refuses, and counts, those of another one; a request for a message of
another run has no effect either. There is no coordinator, so that the devices have to agree on the run:

- A device with a checkpoint, or whose settings name a run, is in that one.
- Any other device asks its neighbours (`Greeting`) before its first round. An answer repeats the *session* that the
  device has drawn when it started: what a broker has kept for a former life of it does not. It joins the run that most
  of those name that answer; of two that are named equally often, the smaller one.
- If nobody names one, the first device of the fleet's order draws a number, once all its neighbours have said that
  they are in none. It tells its neighbours, they join and tell theirs: one message per edge, and no device sends
  anything of a round before it is in a run.
- If the first device is not there, or a neighbour of its is not, the next in the order draws a number when its
  patience is over (`edge.messaging.joining`): `round_timeout` seconds, and an eighth more for each device before it.
- Two parts of a fleet that did not hear of each other may so come to be in two runs. When they do, in their first
  rounds (`YOUNG`), all go over to the smaller number; a device in its first rounds goes over to what most of its
  neighbours say who are past theirs. Later nobody changes: the parameters of two runs, of which one may have been
  started by mistake, are for people to choose from. Both sides count (`refused_run`) and log it.

A message of version 1 of the format, which names no run, is accepted from neighbours that have never named one.

Invariants
----------

- Any payload may be lost, late, repeated or out of order; then a round may take longer, and at its deadline counts a
  timeout. No loss stops a device, and none changes the values of a message that does arrive.
- A message counts once, in its own round, with the values that its sender believes the receiver decoded (`send` returns
  them), however it was coded and however often it was sent.
- What was sent can be asked for until its sender is KEPT_ROUNDS rounds further, also after its sender was killed: the
  checkpoint holds the outbox. A receiver further behind stops waiting at once, and joins the others' round
  (`edge.node`).
- A neighbour costs bounded memory (`Inbox`) and bounded power: ANSWERS answers for a message, then one a minute,
  whatever it asks, and none while the transport still has something to send to it; and of bodies that do not decode,
  MAX_MALFORMED in a round.
- No request makes a device skip rounds: it goes to the round of which most of its neighbours have sent a message.
- A neighbour that the broker says is offline is waited for twice as long as a round may take, and then no more until
  it is back.
- Nothing that a neighbour sends raises. A malformed request is counted like any malformed message.
- A device that waits reads its mail at every turn, so two that wait for each other always answer each other.
- A device may leave once every neighbour that it has heard of has announced that it has finished, or after LINGER
  seconds without a request, and at the latest after the round timeout, because the last announcement may be lost and
  is not repeated by somebody who has left. Neighbours it has never heard of are not waited for.

The constants REQUEST_INTERVAL, LONGEST_REQUEST_INTERVAL, ANSWER_INTERVAL, KEPT_ROUNDS, MAX_EARLY and LINGER say
beside their definitions why they are what they are.
"""

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

from edge.codec import RETRANSMIT, Greeting, parse
from edge.errors import MessageError
from edge.interfaces import Array, Delivery, Exchange, Message, NodeId, Transport
from edge.messaging import topics
from edge.messaging.collector import Collector, Received, Waiting
from edge.messaging.greeter import Greeter
from edge.messaging.inbox import Inbox, InboxSnapshot
from edge.messaging.joining import join
from edge.messaging.linger import linger
from edge.messaging.outbox import Outbox, OutboxSnapshot
from edge.messaging.retransmission import Retransmitter, RetransmitterSnapshot

__all__ = ["Mailbox", "MailboxSnapshot", "Received", "Waiting"]
HELD = 64
"""Deliveries kept, the newest, while a device is in no run yet and cannot tell which of them are of its run."""


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
        self.identity = inbox.identity
        self.offline: dict[NodeId, float] = {}
        """neighbours that the broker says are gone, and since when by the device's clock"""
        self._held: deque[Delivery] = deque(maxlen=HELD)
        self._outbox = Outbox(coding, inbox.identity)
        self._greeter = Greeter(transport, inbox, inbox.identity, now)
        self._retransmitter = Retransmitter(transport, inbox, self._outbox, now)
        self._collector = Collector(inbox, self._retransmitter, self.read, now, self.offline)

    def join(self, position: int, round_timeout: float) -> Generator[Waiting, None, None]:
        """Find the run to take part in, if the device is in none.

        Args:
            position: of the device in the fleet's order, from 0.
            round_timeout: seconds to wait for silent neighbours before a run is named without them.

        Yields:
            What it waits for, until `identity.run` is known.
        """
        return join(self._greeter, self.read, self.now, position=position, round_timeout=round_timeout)

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
        deliveries = self.transport.receive()
        if self._held and self.identity.run:
            deliveries = [*self._held, *deliveries]
            self._held.clear()
        for delivery in deliveries:
            if delivery.kind == topics.PRESENCE:
                self._note_presence(delivery)
            elif delivery.kind == RETRANSMIT:
                self._answer(delivery)
            elif self.identity.run:
                self.inbox.put(delivery)
            else:
                self._held.append(delivery)
        for stranger in self.inbox.take_strangers():
            self._greeter.ask(stranger)

    def _answer(self, delivery: Delivery) -> None:
        try:
            words = parse(delivery.payload)
        except MessageError as reason:
            self.inbox.reject_malformed(delivery.sender, reason)
            return
        if isinstance(words, Greeting):
            self._greeter.take(delivery.sender, words)
        elif not self.identity.run:
            self._held.append(delivery)
        elif self.inbox.admits(delivery.sender, words.run):
            self._retransmitter.answer(delivery.sender, words)

    def _note_presence(self, delivery: Delivery) -> None:
        if delivery.payload == topics.OFFLINE:
            self.offline.setdefault(delivery.sender, self.now())
        else:
            self.offline.pop(delivery.sender, None)

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
