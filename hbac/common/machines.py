"""What machines of a Ray cluster have, against what is asked of one; Ray itself waits for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def needs_of(remote: Mapping[str, Any]) -> dict[str, float]:
    """Return what one job of Ray's asks a machine for, by Ray's names; of the arguments of ``ray.remote``.

    Examples
    --------
    >>> needs_of({"num_gpus": 1, "max_retries": 3, "resources": {"big": 1}})
    {'big': 1.0, 'GPU': 1.0}
    """
    asked = dict(remote.get("resources") or {})
    asked |= {name: remote[key] for key, name in (("num_cpus", "CPU"), ("num_gpus", "GPU")) if remote.get(key)}
    return {name: float(number) for name, number in asked.items()}


def lacking(machines: Sequence[Mapping[str, float]], needed: Mapping[str, float]) -> str:
    """Say what is asked for and no machine has; empty where one has it all.

    Examples
    --------
    >>> lacking([{"CPU": 8, "GPU": 1}], {"CPU": 2, "GPU": 1})
    ''
    >>> lacking([{"CPU": 8}], {"GPU": 1})
    '1 GPU, and no machine of the Ray cluster has that (at most 0 GPU)'
    """
    if any(all(machine.get(name, 0) >= n for name, n in needed.items()) for machine in machines):
        return ""
    most = {name: max((machine.get(name, 0) for machine in machines), default=0) for name in needed}
    asked, have = (", ".join(f"{n:g} {name}" for name, n in of.items()) for of in (needed, most))
    return f"{asked}, and no machine of the Ray cluster has that (at most {have})"
