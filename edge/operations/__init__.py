"""What an operator and the system see of a device: remote administration, health, systemd, Home Assistant.

>>> from edge.operations import home_assistant
>>> topics = home_assistant.discovery("orchard", "device-1")
>>> next(iter(topics))
'homeassistant/sensor/orchard-device-1/round/config'
"""
