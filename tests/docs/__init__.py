"""What the documents say is run, and what the programs say is in the documents."""
