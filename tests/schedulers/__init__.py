"""The recipes of docs/schedulers.md under the real schedulers."""
