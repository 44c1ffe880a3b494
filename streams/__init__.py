"""FastStream apps, thin: a subscriber translates and calls one use case."""
