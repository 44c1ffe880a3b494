"""Decisions, pure: no I/O; clock and randomness are passed in."""
