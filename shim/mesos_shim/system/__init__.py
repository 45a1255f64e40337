"""The kernel and the file system: every system call, and how files are read, walked and removed."""
