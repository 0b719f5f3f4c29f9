"""What values a setting may have: one table, and one message with the setting's key.

What a constructor checks by itself (a montage's name, a kernel that must be odd) is not repeated here. This is for what
torch, Lightning, numpy or a plain loop would stumble over later, somewhere else, in words of their own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from hbac.common.errors import UserError

_KINDS = {"whole": "a whole number", "number": "a number", "flag": "true or false", "text": "text", "name": "text"}
_FORBIDDEN = {
    "fast_dev_run": "it keeps no checkpoint, and so no weights to score; debug=fast is a run of a few batches",
    "max_steps": "the schedule is made for whole epochs; set trainer.max_epochs",
    "check_val_every_n_epoch": "each epoch is validated, once: the best weights and some schedules are chosen by it",
    "val_check_interval": "each epoch is validated, once: the best weights and some schedules are chosen by it",
    "limit_predict_batches": "all rows that are held out are predicted: they are the run's score",
    "barebones": "it keeps no checkpoint, and so no weights to score",
    "max_time": "a run that was stopped goes on where it was; set trainer.max_epochs",
    **dict.fromkeys(
        ("logger", "callbacks", "default_root_dir", "enable_model_summary", "enable_progress_bar", "plugins",
         "num_sanity_val_steps", "enable_checkpointing", "use_distributed_sampler"),
        "hbac decides this itself",
    ),
}  # fmt: skip
_GROUPS = ("labels", "front_end", "augment", "data", "task", "optimizer", "schedule", "model", "trainer", "dataset",
           "logger", "blend", "engine", "events")  # fmt: skip
_LEFT_ALONE = {"check_val_every_n_epoch": (1,), "val_check_interval": (None, 1.0), "max_steps": (-1,),
               "limit_predict_batches": (None, 1.0)}  # fmt: skip
_OF_THE_RUN = ("band", "montage")  # settings of the whole run that a constructor is given


@dataclass(frozen=True)
class Rule:
    """The values that a setting may have."""

    kind: str  # ``whole``, ``number``, ``flag``, ``text``, or ``name``, which is no number
    low: float = -math.inf
    high: float = math.inf
    above: bool = False  # the smallest is itself too small
    below: bool = False  # the largest is itself too large
    null: bool = False  # it may be null
    words: tuple[str, ...] = ()  # that it may also be
    several: bool = False  # it is a list of such values; one may then stand for a list of one
    is_list: bool = False  # it must be a list, of one or more

    def fits(self, value: Any) -> bool:
        """Say whether a value is one of them."""
        if value is None:
            return self.null
        if isinstance(value, list):
            return (self.several or (self.is_list and bool(value))) and all(self._fits(entry) for entry in value)
        return not self.is_list and self._fits(value)

    def _fits(self, value: Any) -> bool:
        if isinstance(value, str) and value in self.words:
            return True
        if self.kind == "flag":
            return isinstance(value, bool)
        if self.kind == "name":
            return isinstance(value, str) and bool(value)
        if self.kind == "text":
            return isinstance(value, str | int | float) and not isinstance(value, bool)  # 2024 may be a folder's name
        if isinstance(value, bool) or not isinstance(value, int if self.kind == "whole" else int | float):
            return False
        if not math.isfinite(value):
            return False
        return (self.low < value if self.above else self.low <= value) and (
            value < self.high if self.below else value <= self.high
        )

    def __str__(self) -> str:
        text = _KINDS[self.kind]
        if self.several or self.is_list:
            text = "a list of whole numbers" if self.kind == "whole" else "a list: [A,B]"
            text = text if self.is_list or self.kind not in ("text", "name") else f"text or {text}"
        if math.isfinite(self.low) and math.isfinite(self.high):
            text += f" {'above' if self.above else 'from'} {self.low} {'and below' if self.below else 'to'} {self.high}"
        elif math.isfinite(self.low):
            text += f" above {self.low}" if self.above else f", {self.low} or more"
        return " or ".join([text, *self.words, *(["null"] if self.null else [])])


FLAG = Rule("flag")
TEXT = Rule("text")
NAME = Rule("name")
NAMES = Rule("name", several=True)
TEXT_OR_NULL = Rule("text", null=True)
TEXTS = Rule("text", null=True, several=True)
COUNT = Rule("whole", 1)
SEED = Rule("whole", 0, 2**32 - 1)
POSITIVE = Rule("number", 0, above=True)
NOT_NEGATIVE = Rule("number", 0)
SHARE = Rule("number", 0, 1)
SHARE_BELOW_1 = Rule("number", 0, 1, below=True)

#: The first pattern that fits a setting's key counts.
RULES: dict[str, Rule | tuple[Rule, ...]] = {
    "outputs": NAME,
    "n_jobs": Rule("whole", 1, 1024),
    "seed": SEED,
    "fold": Rule("whole", 0),
    "ema": SHARE_BELOW_1,
    "patience": Rule("whole", 1, null=True),
    "init_from": TEXT_OR_NULL,
    "export": TEXT,
    "resume": FLAG,
    "requeue": FLAG,
    "launch_wait_s": NOT_NEGATIVE,
    "compile": Rule("flag", words=("default", "max-autotune")),
    "allow_missing_folds": FLAG,
    "comparisons": FLAG,
    "dry_run": FLAG,
    "audit": FLAG,
    "out": NAME,
    "ensemble": TEXT_OR_NULL,
    "run": TEXT_OR_NULL,
    "push": TEXT_OR_NULL,
    "tolerance": Rule("number", 0, null=True, above=True),
    "folds": TEXT_OR_NULL,
    "list": TEXT_OR_NULL,
    "members": TEXTS,
    "runs": TEXTS,
    "tta": TEXTS,
    "recordings": TEXTS,
    "step_s": Rule("number", 0, 3600, above=True),
    "outside": NAME,
    "interpolate": Rule("whole", 0, 10),
    "unit": TEXT_OR_NULL,
    "keep": TEXTS,
    "page": FLAG,
    "engine.name": NAME,
    "engine.workers": Rule("whole", 1, 10_000, null=True),
    "engine.num_cpus": COUNT,
    "engine.num_gpus": NOT_NEGATIVE,
    "engine.wait_s": NOT_NEGATIVE,
    "events.recall": Rule("number", 0, 1, null=True),
    "events.smooth": FLAG,
    "events.held_s": NOT_NEGATIVE,
    "events.join_s": NOT_NEGATIVE,
    "events.least_s": NOT_NEGATIVE,
    "label_ids": Rule("whole", null=True, several=True),
    "windows": Rule("whole", 0),
    "saliency_s": NOT_NEGATIVE,
    "watch": FLAG,
    "batch_size": COUNT,
    "dataset.root": NAME,
    "dataset.stores": NAME,
    "dataset.labels": NAME,
    "dataset.interpolate": Rule("whole", 0, 10),
    "dataset.seed": SEED,
    "dataset.n_jobs": Rule("whole", 1, 1024),
    "labels.n_folds": Rule("whole", 2, 1000),
    "labels.seed": SEED,
    "labels.pseudo": TEXT_OR_NULL,
    "labels.opinions": TEXT_OR_NULL,
    "data.batch_size": COUNT,
    "data.num_workers": Rule("whole", 0, 1024, words=("auto",)),
    "data.resident": TEXT,
    "data.cache": FLAG,
    "trainer.max_epochs": Rule("whole", 1, 1_000_000),
    "trainer.min_epochs": Rule("whole", 1, null=True),
    "trainer.accumulate_grad_batches": COUNT,
    "trainer.num_nodes": COUNT,
    "trainer.devices": (Rule("whole", 1, words=("auto",)), Rule("whole", 0, is_list=True)),
    "trainer.gradient_clip_val": Rule("number", 0, null=True),
    "trainer.log_every_n_steps": COUNT,
    "trainer.limit_*": POSITIVE,
    "trainer.overfit_batches": NOT_NEGATIVE,
    "trainer.deterministic": Rule("flag", words=("warn",)),
    "trainer.precision": TEXT,
    "trainer.sync_batchnorm": FLAG,
    "optimizer.lr": NOT_NEGATIVE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.momentum": SHARE_BELOW_1,
    "optimizer.nesterov": FLAG,
    "optimizer.amsgrad": FLAG,
    "optimizer.maximize": FLAG,
    "montage": NAMES,
    "front_end.montage": NAMES,
    "front_end.image.*montage": NAMES,
    "band": TEXT,
    "model.kernels": Rule("whole", 1, 10_000, is_list=True),
    "model.backbone": NAME,
    "model.image_size": Rule("whole", 1, 4096, is_list=True, null=True),
    "model.pretrained": FLAG,
    "model.pretrained_file": TEXT_OR_NULL,
    "model.channels_last": FLAG,
    "model.compress": FLAG,
    "model.*dropout": SHARE_BELOW_1,
    "model.drop_path": SHARE_BELOW_1,
    "model.*_lr_factor": POSITIVE,
    "model.step_s": POSITIVE,
    "model.centre_s": POSITIVE,
    "model.filters": Rule("whole", 1, 4096),
    "model.width": Rule("whole", 1, 4096),
    "model.gru_hidden": Rule("whole", 1, 4096),
    "model.depth": Rule("whole", 1, 64),
    "model.n_blocks": Rule("whole", 1, 64),
    "model.n_heads": Rule("whole", 1, 256),
    "model.n_chains": Rule("whole", 1, 64, null=True),
    "model.expansion": Rule("whole", 1, 64),
    "model.conv_kernel": Rule("whole", 1, 10_000),
    "model.widths": Rule("whole", 1, 4096, is_list=True),
    "model.*_width": Rule("whole", 1, 4096),
    "model.crop_s": Rule("number", 0, above=True, null=True),
    "model.gru_layers": Rule("whole", 1, 16),
    "front_end.tile_height": Rule("whole", 1, 4096, null=True),
    "front_end.tile_width": Rule("whole", 1, 4096, null=True),
    "front_end.sfreq_out": Rule("number", 0, above=True, null=True),
    "front_end.image.*.sfreq_out": Rule("number", 0, above=True, null=True),
    "front_end.image.*.rows_per_derivation": COUNT,
    "front_end.image.*.centres_s": Rule("number", 0, above=True, several=True),
    "front_end.image.*.clip_uv": POSITIVE,
    "front_end.image.*.scale_uv": POSITIVE,
    "front_end.in_chans": Rule("whole", 1, 256),
    "front_end.clip_uv": POSITIVE,
    "front_end.scale_uv": POSITIVE,
    "logger*.worst_windows": Rule("whole", 0),
    "logger*.tags": TEXTS,
    "logger*.project": TEXT,
    "logger*.entity": TEXT_OR_NULL,
}


def check_settings(settings: Mapping[str, Any], prefix: str = "") -> None:
    """Refuse values that no command could work with, the first by its key, after `prefix` such as ``stages.first.``."""
    for group in _GROUPS:
        if group in settings and not isinstance(settings[group], Mapping):
            raise UserError(f"{prefix}{group}={_shown(settings[group])}: must be an option of that group")
    for key, value in _leaves(settings):
        name = key.removeprefix("trainer.")
        if name != key and name in _FORBIDDEN and not _left_alone(name, value):
            raise UserError(f"{prefix}{key}={_shown(value)}: {_FORBIDDEN[name]}")
        either = rules_of(key)
        if either and not any(rule.fits(value) for rule in either):
            raise UserError(f"{prefix}{key}={_shown(value)}: must be {' or '.join(map(str, either))}")


def rules_of(key: str) -> tuple[Rule, ...]:
    """Return what a setting may be, in any of these ways; nothing is said of most."""
    rules = next((rule for pattern, rule in RULES.items() if fnmatchcase(key, pattern)), ())
    return (rules,) if isinstance(rules, Rule) else rules


@contextmanager
def blamed_on(key: str) -> Iterator[None]:
    """Say which setting, or group, an error inside a constructor is about.

    In one line, whatever torch and others raise.
    """
    try:
        yield
    except UserError as error:
        own = re.match(r"(\w+)=", str(error))
        if own is None or own[1] in _OF_THE_RUN:
            raise
        raise UserError(f"{key}.{error}") from error
    except (TypeError, ValueError, ArithmeticError, AttributeError, LookupError, RuntimeError, AssertionError,
            ImportError) as error:  # fmt: skip
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise UserError(f"{key}: these settings do not work: {reason}") from error
    except Exception as error:
        if type(error).__name__ != "MisconfigurationException":  # Lightning's; not imported for its name
            raise
        raise UserError(f"{key}: {' '.join(str(error).split())}") from error


def _left_alone(name: str, value: Any) -> bool:
    """Say whether a value is Lightning's own; 1.0 is the whole, and 1 one batch."""
    own = _LEFT_ALONE.get(name, (None, False))
    return any(value == default and type(value) is type(default) for default in own)


def _shown(value: Any) -> Any:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else value


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and not any(fnmatchcase(name, pattern) for pattern in RULES):
            yield from _leaves(value, f"{name}.")
        else:
            yield name, value
