"""The launch path in one file for each program: packed when a release is staged, unpacked at every launch."""
