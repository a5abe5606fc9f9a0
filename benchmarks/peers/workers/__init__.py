"""What runs in the environments of the peers, and what all of them need."""
