"""The commands of `csqa`, one group a module."""
