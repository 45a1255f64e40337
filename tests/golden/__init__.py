"""What must not change while code is moved: plans as `explain --json` shows them, system calls in their order.

Nothing here imports the shim: all of it goes through the installed programs, so that modules can be moved and renamed.
But for the order of the helper's steps, which no command prints.
"""
