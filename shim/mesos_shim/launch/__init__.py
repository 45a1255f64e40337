"""Doing it: a plan is carried out, and rolled back where a step fails."""
