"""One external system a module."""
