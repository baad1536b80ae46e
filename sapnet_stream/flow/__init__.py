"""Threads and bounded queues, nothing else."""

from sapnet_stream.flow.channel import Cancellation, Cancelled, Channel
from sapnet_stream.flow.pipeline import Pipeline, StageStats

__all__ = ["Cancellation", "Cancelled", "Channel", "Pipeline", "StageStats"]
