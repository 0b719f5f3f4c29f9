"""``ensemble.json``: all that inference needs to know of a blend, readable by eye, paths relative to itself."""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import hbac
from hbac.common.errors import UserError
from hbac.common.files import read_json, with_nan, write_json
from hbac.common.shapes import Maybe, check_shape
from hbac.ensembling.blends import Array, Blend, blend_from_dict
from hbac.ensembling.methods import SINGLE
from hbac.evaluation.bootstrap import Interval
from hbac.labels.targets import population_of
from hbac.vocabulary import CLASSES

ENSEMBLE_FILE = "ensemble.json"
MEMBERS = "members"  # beside it: the members' out-of-fold tables, one file a member
_FORMAT = 1
_LONGEST_STEM = 150  # bytes; file systems take 255, and something stands behind it

_SCORE = {"kl": Maybe(float), "low": Maybe(float), "high": Maybe(float)}
_SHAPE = {
    "members": [{"name": str, "runs": [str], "table": Maybe(str), "config_hash": str, "kl": Maybe(float)}],
    "method": str,
    "blend": {"kind": str},
    "score": {"nested": _SCORE, "in_sample": _SCORE},
    "fold_hash": str,
    "data_fingerprint": str,
    "dropped": [str],
    "hbac_version": str,
    "extras": dict,
}


@dataclass(frozen=True)
class Member:
    """One member of an ensemble. Paths are absolute in memory, and relative to the file in it."""

    name: str  # the same as in its prediction table
    runs: tuple[Path, ...] = ()  # averaged, in the order of their folds; none for a table of other code
    table: Path | None = None  # out of fold
    config_hash: str = ""  # without the fold
    kl: float = float("nan")  # out of fold, on the ensemble's population


@dataclass(frozen=True)
class Ensemble:
    """Members and how they are blended.

    Parameters
    ----------
    members : tuple of Member
        Those that matter; members that the fit left out aren't here.
    method : str
        Name of the method that made the blend.
    population : str
        The rows that it was fitted on and that all its scores stand for (`hbac.labels.targets.population_of`).
    blend : Blend
        What is applied, to the members in this order.
    nested : Interval
        Score of weights fitted on the other folds, in nats, with its 95 % patient bootstrap.
    in_sample : Interval
        Score of the weights on the rows that they were fitted on; the difference is the over-fit.
    fold_hash : str
        Hash of the fold table.
    data_fingerprint : str
        Fingerprint of the data set.
    dropped : tuple of str
        Names of members that the fit left out.
    hbac_version : str
        Version that made it.
    extras : mapping of str to object
        Further figures, plain containers.
    """

    members: tuple[Member, ...]
    method: str
    population: str
    blend: Blend
    nested: Interval
    in_sample: Interval
    fold_hash: str = ""
    data_fingerprint: str = ""
    dropped: tuple[str, ...] = ()
    hbac_version: str = hbac.__version__
    extras: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, prob_MNK: npt.NDArray[np.floating], present_MN: npt.NDArray[np.bool_] | None = None) -> Array:
        """Blend the members' probabilities.

        Parameters
        ----------
        prob_MNK : ndarray, shape (members, rows, 6)
            Members in the order of `members`; each the mean over the networks of its runs.
        present_MN : ndarray of bool, shape (members, rows), optional
            Whether the member has the row; all have all by default.

        Returns
        -------
        ndarray of float64, shape (rows, 6)
            Probabilities; each row sums to 1.

        Raises
        ------
        UserError
            Another number of members.
        """
        if len(prob_MNK) != len(self.members):
            raise UserError(f"ensemble of {len(self.members)} members, but probabilities of {len(prob_MNK)}")
        return self.blend.apply(prob_MNK, present_MN)

    def write(self, path: str | Path, stands_in: Path | None = None) -> Path:
        """Write the file, or ``ensemble.json`` in a folder, and return its path; it appears whole or not at all.

        Its paths are noted relative to `stands_in`, the folder that it will be moved to; that of `path` where absent.
        """
        path = _file(path)
        folder = stands_in or path.parent
        content = {
            "format": _FORMAT,
            "hbac_version": self.hbac_version,
            "method": self.method,
            "population": self.population,
            "classes": list(CLASSES),
            "score": {
                name: {"kl": score.estimate, "low": score.low, "high": score.high}
                for name, score in (("nested", self.nested), ("in_sample", self.in_sample))
            },
            "fold_hash": self.fold_hash,
            "data_fingerprint": self.data_fingerprint,
            "members": [
                {
                    "name": member.name,
                    "kl": member.kl,
                    "config_hash": member.config_hash,
                    "table": None if member.table is None else _relative(member.table, folder),
                    "runs": [_relative(run, folder) for run in member.runs],
                }
                for member in self.members
            ],
            "dropped": list(self.dropped),
            "blend": self.blend.to_dict(),
            "extras": dict(self.extras),
        }
        write_json(path, content, sealed=True)
        return path

    @classmethod
    def read(cls, path: str | Path) -> Ensemble:
        """Read an ensemble file, or that of a folder. Its paths become absolute.

        Whether they exist is left to who needs them.

        Raises
        ------
        UserError
            No such file, not JSON, or an entry is missing or wrong.
        """
        path = _file(path)
        if not path.is_file():
            raise UserError(f"{path}: no such ensemble file")
        try:
            content = read_json(path, {"format": int, "classes": [str]})
            if content["format"] != _FORMAT or content["classes"] != list(CLASSES):
                raise UserError(
                    f"{path}: format {content['format']}, classes {content['classes']}; this hbac reads format "
                    f"{_FORMAT} with classes {list(CLASSES)}"
                )
            check_shape(content, _SHAPE, str(path))
            names = Counter(member["name"] for member in content["members"])
            if twice := [name for name, number in names.items() if number > 1]:
                raise UserError(f"{path}: two members are called {twice[0]}")
            if content["method"] not in SINGLE:
                raise UserError(
                    f"{path}: made by method {content['method']}, which this hbac does not have (it has "
                    f"{', '.join(SINGLE)}); blend its members anew: python -m hbac.ensemble members=[{path.parent}]"
                )
            ensemble = cls(
                members=tuple(_member(entry, path.parent) for entry in content["members"]),
                method=content["method"],
                population=population_of(content.get("population", "all")).setting,  # earlier versions: all
                blend=blend_from_dict(content["blend"]),
                nested=_interval(content["score"]["nested"]),
                in_sample=_interval(content["score"]["in_sample"]),
                fold_hash=content["fold_hash"],
                data_fingerprint=content["data_fingerprint"],
                dropped=tuple(content["dropped"]),
                hbac_version=content["hbac_version"],
                extras=content["extras"],
            )
        except UserError as error:
            raise UserError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: not an ensemble file of hbac ({error!r})") from error
        _try(ensemble, path)
        return ensemble


def _try(ensemble: Ensemble, path: Path) -> None:
    """Blend one row, on which numbers that are none, and too many or too few of them, show."""
    n_members, n_classes = len(ensemble.members), len(CLASSES)
    row_K = np.arange(1, n_classes + 1) / (n_classes * (n_classes + 1) / 2)
    try:
        n_blended = len(ensemble.blend.used)
        if n_blended != n_members:
            raise UserError(f"{path}: {n_members} members, but the blend is one of {n_blended}")
        with np.errstate(all="ignore"):
            prob_NK = ensemble.blend.apply(np.tile(row_K, (n_members, 1, 1)))
    except UserError:
        raise
    except (ValueError, IndexError, TypeError, ArithmeticError, AttributeError) as error:
        raise UserError(f"{path}: blend: its numbers do not fit together ({error})") from error
    if prob_NK.shape != (1, n_classes) or not np.allclose(prob_NK.sum(), 1) or not (prob_NK >= 0).all():
        raise UserError(f"{path}: blend: its numbers make no probabilities, but {prob_NK.tolist()}")


def stems(names: Sequence[str]) -> list[str]:
    """Name a file or folder after each member, whatever its name is made of, and none as another one.

    Examples
    --------
    >>> stems(["mean", "../../mean", "Mean", ".."])
    ['mean', '_.._mean', 'Mean-2', 'member']
    """
    found: list[str] = []
    taken: set[str] = set()  # some file systems take upper for lower case
    for name in names:
        plain = re.sub(r"[^\w.+=-]+", "_", name).encode()[:_LONGEST_STEM].decode(errors="ignore")
        stem = plain = plain.lstrip(".") or "member"
        for number in itertools.count(2):
            if stem.casefold() not in taken:
                break
            stem = f"{plain}-{number}"
        taken.add(stem.casefold())
        found.append(stem)
    return found


def _file(path: str | Path) -> Path:
    path = Path(path)
    return path if path.suffix == ".json" else path / ENSEMBLE_FILE


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()


def _absolute(entry: str, folder: Path) -> Path:
    return Path(os.path.normpath(folder.absolute() / entry))


def _member(entry: Mapping[str, Any], folder: Path) -> Member:
    return Member(
        name=entry["name"],
        runs=tuple(_absolute(run, folder) for run in entry["runs"]),
        table=None if entry.get("table") is None else _absolute(entry["table"], folder),
        config_hash=entry["config_hash"],
        kl=with_nan(entry.get("kl")),
    )


def _interval(entry: Mapping[str, Any]) -> Interval:
    return Interval(*(with_nan(entry.get(name)) for name in ("kl", "low", "high")))
