"""The loop's operator API: what the CLI and operators call."""
