"""Removes rain from video: files and live cameras, on a CPU or a GPU."""

__version__ = "0.1.0"
