"""Randomness as a function of (seed, purpose, position): nothing to save, nothing to restore."""

from __future__ import annotations

import hashlib

import torch


def generator(device: torch.device | str, seed: int, purpose: str, position: int = 0) -> torch.Generator:
    """A generator that depends on its arguments alone."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{position}".encode(), digest_size=8).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little") >> 1)
