"""Damage and nonsense for files, from a seed, for ``HBAC_FUZZ_S`` seconds a fuzzer (3 by default).

Five minutes each, of other cases than by default:
``HBAC_FUZZ_S=300 HBAC_FUZZ_SEED=1000000 pytest tests/test_fuzz.py``.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

SECONDS = float(os.environ.get("HBAC_FUZZ_S", "3"))
FIRST = int(os.environ.get("HBAC_FUZZ_SEED", "0"))
NONSENSE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "x", "1", "../..",
    "\0", "\ud800", "a" * 5_000, [], {}, [[]], [None], {"": None}, [1, "a"], {"kind": "mixture"}, [[float("nan")]],
)  # fmt: skip


def rounds() -> Iterator[np.random.Generator]:
    """One generator after the other, the same ones each time, until the time is over; says how many there were."""
    end = time.monotonic() + SECONDS
    for seed in itertools.count(FIRST):
        if time.monotonic() >= end:
            break
        yield np.random.default_rng([7, seed])
    sys.stderr.write(f"{seed - FIRST} rounds in {SECONDS:g} s, {time.process_time():.0f} s of a processor\n")


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Flip, overwrite, cut, double or insert something, once or some times."""
    spoiled = bytearray(content)
    for _ in range(int(rng.choice([1, 1, 1, 2, 5, 20]))):
        if not spoiled:
            break
        place, length = int(rng.integers(len(spoiled))), int(rng.choice([1, 2, 8, 100]))
        match int(rng.integers(6)):
            case 0 | 1:
                spoiled[place] ^= 1 << int(rng.integers(8))
            case 2:
                spoiled[place : place + length] = rng.bytes(length)
            case 3:
                del spoiled[place : place + length]
            case 4:
                spoiled[place:place] = spoiled[place : place + length]
            case 5:
                del spoiled[place:]
    return bytes(spoiled)


def mutated(content: Any, rng: np.random.Generator) -> Any:
    """Put nonsense in the place of something in plain containers, or leave it out, or add it."""
    if isinstance(content, dict) and content and rng.random() < 0.85:
        key = str(rng.choice(list(content)))
        if rng.random() < 0.1:
            return {k: v for k, v in content.items() if k != key}
        return {**content, key: mutated(content[key], rng)}
    if isinstance(content, list) and content and rng.random() < 0.85:
        place = int(rng.integers(len(content)))
        match int(rng.integers(8)):
            case 0:
                return content[:place] + content[place + 1 :]
            case 1:
                return [*content, content[place]]
        return [*content[:place], mutated(content[place], rng), *content[place + 1 :]]
    return NONSENSE[int(rng.integers(len(NONSENSE)))]
