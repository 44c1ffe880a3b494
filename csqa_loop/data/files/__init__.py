"""Training data on disk: CSV, JSON, JSON lines and SQLite, read as a stream of rows."""

from csqa_loop.data.files.source import CONTAINERS, Container, DataFile, open_data_file

__all__ = ["CONTAINERS", "Container", "DataFile", "open_data_file"]
