"""MQTT brokers: the one for the occasion, and the kit for the field."""
