"""Messages between neighbours: sending, collecting, retransmission, topics, and transfer in chunks."""
