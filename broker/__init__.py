"""MQTT brokers: one for development (`embedded`), and the kit for a fleet in the field.

A fleet's broker lets every device publish as itself and read its own inbox, and nothing else:

>>> from broker.rules import access_rules
>>> rules = access_rules("orchard", enrolled=["a", "b"]).splitlines()
>>> "pattern write fleet/orchard/to/b/from/%u/soft-labels" in rules
True
>>> [rule for rule in rules if rule.endswith("/from/+/+")]
['pattern read fleet/orchard/to/%u/from/+/+']
"""
