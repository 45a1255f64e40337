"""What runs: the record of each container, and which processes belong to it."""
