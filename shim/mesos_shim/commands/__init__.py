"""One module for each command but `run`."""
