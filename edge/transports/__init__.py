"""Ways to move bytes between neighbours, one a file; each is an `edge.interfaces.Transport`.

>>> from edge.transports.memory import Network
>>> network = Network("demo")
>>> a, b = network.attach("a"), network.attach("b")
>>> a.send("b", "weights", b"some bytes")
>>> b.receive()
[Delivery(sender='a', kind='weights', payload=b'some bytes')]
"""
