"""The kinds of blend by name, for reading ``ensemble.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hbac.common.errors import UserError
from hbac.ensembling.blends import Arithmetic, Array, Blend, LogLinear
from hbac.ensembling.compound import Augmented, Mixture
from hbac.ensembling.refined import Refined
from hbac.ensembling.stacking import Stacked

KINDS = ("arithmetic", "augmented", "log_linear", "mixture", "refined", "stacked")


def blend_from_dict(content: Mapping[str, Any]) -> Blend:
    """Make the blend that `Blend.to_dict` described.

    Parameters
    ----------
    content : mapping
        Plain containers.

    Returns
    -------
    Blend
        Ready to apply.

    Raises
    ------
    UserError
        Unknown kind, or an entry is missing.

    Examples
    --------
    >>> blend_from_dict({"kind": "arithmetic", "weights": [0.25, 0.75]}).used.tolist()
    [True, True]
    """

    def numbers(name: str) -> Array:
        return np.array(content[name], dtype=np.float64)

    try:
        kind = content["kind"]
        if kind == "arithmetic":
            return Arithmetic(numbers("weights"))
        if kind == "log_linear":
            return LogLinear(numbers("weights"), numbers("bias"))
        if kind == "mixture":
            return Mixture([blend_from_dict(part) for part in content["parts"]], numbers("weights"))
        if kind == "augmented":
            return Augmented(numbers("mixtures"), blend_from_dict(content["inner"]))
        if kind == "stacked":
            return Stacked(numbers("weights"), numbers("bias"))
        if kind == "refined":
            base = LogLinear(numbers("base_weights"), numbers("base_bias"))
            parts = ("centre", "scale", "hidden_weights", "hidden_bias", "output")
            return Refined(base, *(numbers(name) for name in parts))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"blend: damaged description ({error!r})") from error
    raise UserError(f"blend: unknown kind {kind!r}; this hbac knows {', '.join(KINDS)}")
