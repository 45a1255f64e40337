"""What this host can enforce, and how to fix what it cannot."""
