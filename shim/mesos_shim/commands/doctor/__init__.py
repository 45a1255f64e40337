"""What this host can enforce, and how to mend what it cannot."""
