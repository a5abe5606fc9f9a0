"""MQTT brokers: one for development (`embedded`), and the kit for a fleet in the field.

A fleet's broker lets every device publish as itself and read its own inbox, and nothing else:

>>> from broker.rules import access_rules
>>> for rule in access_rules("orchard").splitlines()[:2]:
...     print(rule)
pattern write fleet/orchard/to/+/from/%u/+
pattern read fleet/orchard/to/%u/from/+/+
"""
