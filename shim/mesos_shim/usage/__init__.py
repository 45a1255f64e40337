"""What every container uses: one pass over the host's processes for all of them."""
