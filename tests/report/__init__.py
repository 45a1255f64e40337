"""The fleet report: what it says of hosts, and how its page looks in a browser."""
