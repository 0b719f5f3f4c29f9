"""Chance without hidden state: random numbers as a pure function of seed, epoch, row and purpose.

A generator hands out numbers in the order in which it is asked, so that what happens to a row depends on the
rows before it, on the batch and on the workers. Here every row of every epoch has a *key*, and every number is
a hash of the key, the name of what it is for, and its index: counter-based random numbers, in integer
operations that give the same bits on every device.

References
----------
Counter-based generators: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3",
doi:10.1145/2063384.2063405. The mixing function is that of SplitMix64: Steele, Lea & Flood 2014, "Fast
splittable pseudorandom number generators", doi:10.1145/2660193.2660195.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from hbac.signal.constants import Constants

# Legend of tensor names: B window (row), N number.


def _signed(value: int) -> int:
    """Return the 64-bit pattern of an unsigned integer as torch's int64 holds it."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift_right(bits: Tensor, by: int) -> Tensor:
    # torch shifts the sign in; the mask takes it out again.
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: Tensor) -> Tensor:
    """Scramble 64-bit integers so that neighbours have nothing in common; products wrap around."""
    bits = (bits ^ _shift_right(bits, 30)) * _MIX_1
    bits = (bits ^ _shift_right(bits, 27)) * _MIX_2
    return bits ^ _shift_right(bits, 31)


def row_keys(seed: int, epoch: int, row_id_B: Tensor) -> Tensor:
    """Hash seed, epoch and row to the key from which all chance of that row in that epoch follows.

    `row_id_B` are integers, the same for a row wherever it turns up: its label id, say. The keys are int64 on their
    device.

    Examples
    --------
    >>> keys = row_keys(0, 3, torch.tensor([7, 8]))
    >>> bool(keys[1] == row_keys(0, 3, torch.tensor([8]))[0])
    True
    """
    return _mix(row_id_B.to(torch.int64) + _epoch_key(seed, epoch))


@lru_cache(maxsize=256)
def _epoch_key(seed: int, epoch: int) -> int:
    # Each number is scrambled before the next comes in, so that (seed 1, epoch 0) and (seed 0, epoch 1) differ.
    key = _mix(_mix(torch.tensor(seed) + _GOLDEN) + epoch + _GOLDEN)
    return int(key + _GOLDEN)


def draw(key_B: Tensor, purposes: Mapping[str, int]) -> dict[str, Tensor]:
    """Draw numbers from [0, 1) for several purposes at once, in the few operations that one of them takes.

    `purposes` says what they are for, and how many each row gets; for each, float32 (B, n), multiples of 2**-24, are
    returned. Each purpose of a key has its own, independent numbers, whatever is drawn beside them.

    Examples
    --------
    >>> drawn = draw(row_keys(0, 0, torch.arange(4)), {"gain": 2, "swap": 1})
    >>> drawn["gain"].shape, drawn["swap"].shape
    (torch.Size([4, 2]), torch.Size([4, 1]))
    """
    if not purposes:
        return {}
    counters = _counters(tuple(purposes.items()))
    stream_BN = _mix(key_B[:, None] + counters.get("stream_N", key_B))
    bits_BN = _shift_right(_mix(stream_BN + counters.get("counter_N", key_B)), 40)
    numbers_BN = bits_BN.to(torch.float32) / (1 << 24)
    return dict(zip(purposes, torch.split(numbers_BN, list(purposes.values()), dim=1), strict=True))


@lru_cache(maxsize=256)
def _counters(purposes: tuple[tuple[str, int], ...]) -> Constants:
    """For each number, what takes a key to the stream of its purpose, and how far along that stream it is."""
    streams = [_signed(zlib.crc32(purpose.encode()) * 0x9E3779B97F4A7C15 % (1 << 64)) for purpose, _ in purposes]
    n = torch.tensor([n for _, n in purposes])
    counter_N = torch.cat([torch.arange(1, n + 1) for _, n in purposes]) * _GOLDEN
    return Constants({"stream_N": torch.tensor(streams).repeat_interleave(n), "counter_N": counter_N})


def uniforms(key_B: Tensor, purpose: str, n: int = 1) -> Tensor:
    """Draw `n` numbers from [0, 1) a row for one purpose; see `draw`."""
    return draw(key_B, {purpose: n})[purpose]
