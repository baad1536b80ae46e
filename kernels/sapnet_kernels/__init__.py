"""Ops for deraining networks, one per file, each with its PyTorch reference beside it."""
