"""Batch entry points: each is a function of a directory."""
