"""What an operator and the system see of a device: remote administration, health, systemd, Home Assistant."""
