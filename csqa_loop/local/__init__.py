"""Embedded parts: what `csqa up` runs where nothing external is configured."""
