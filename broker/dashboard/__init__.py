"""A live fleet on a page, or in a terminal: what its devices report, the links between them, and what is wrong.

>>> from broker.dashboard.state import FleetState
>>> fleet = FleetState("orchard", clock=lambda: 1000.0)
>>> fleet.take("fleet/orchard/telemetry/device-0", b'{"round": 3, "loss": 0.5}', now=990.0)
>>> [(device["id"], device["round"], device["ago"]) for device in fleet.snapshot()["devices"]]
[('device-0', 3.0, 10.0)]
"""
