"""What runs in a worker of Ray's."""
