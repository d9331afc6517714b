"""What is decided before a start."""
