"""Random numbers that depend on what they are for, not on what was drawn before."""

import hashlib

import torch


def seeded(*key: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator whose seed is a hash of `key`: step 7 draws the same after any resume."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))
