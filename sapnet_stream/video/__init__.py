"""Frames, their colours, and the containers they come from and go to."""
