"""Messages between neighbours: sending, collecting, retransmission, topics, and transfer in chunks.

>>> import numpy as np
>>> from edge.interfaces import Exchange, Message
>>> from edge.kinds import SOFT_LABELS
>>> from edge.messaging.inbox import Inbox
>>> from edge.messaging.mailbox import Mailbox
>>> from edge.transports.memory import Network
>>> network, form = Network("demo"), SOFT_LABELS.format(bytes(8), (2, 3))
>>> a, b = (
...     Mailbox(network.attach(me), Inbox({other: (form,)}), {"soft-labels": "float32"}, now=lambda: 0.0)
...     for me, other in (("a", "b"), ("b", "a"))
... )
>>> table = np.full((2, 3), 1 / 3, np.float32)
>>> sent = a.send(Exchange({"b": (Message("soft-labels", 1, bytes(8), table),)}, {}))
>>> try:  # a message that is not here yet would make `collect` yield a `Waiting`
...     next(b.collect({"a": ("soft-labels",)}, 1, deadline=30.0))
... except StopIteration as end:
...     print(end.value["a"]["soft-labels"].values.shape)
(2, 3)
"""
