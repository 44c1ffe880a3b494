"""Use cases, in the order of the cycle."""
