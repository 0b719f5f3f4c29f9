"""Whatever is typed: it composes, or one message says what is wrong with it; a seeded search for what does neither."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from hbac.cli.launch import NOT_COMPOSED, flags_first
from hbac.cli.spelling import check_flags, check_overrides, explained, with_empty_groups
from hbac.common.errors import UserError
from tests.fuzz import rounds

LINES = (
    "model=resnet_gru", "band=0.5-20", "fold=0,1,2", "model.kernels=[3,5,7]", "trainer.max_epochs=3", "seed=1e3",
    "experiment=two_stage,null", "+trainer.profiler=simple", "hydra/launcher=basic", "augment.raw.swap_p=0.3",
    "front_end.tile_width=${front_end.tile_height}", "dataset.root='a b'", "allow=[mynets]", "~model", "a.b@c=d",
    "model.kernels=choice([3,5],[7])", "fold=range(0,5)", "optimizer.lr=tag(log,interval(1e-4,1e-2))", "fold=glob(*)",
    "+stages.a.labels.min_votes=1",
)  # fmt: skip
PIECES = (*"[]{}(),='\"\\$:@+~.-*/ \t\n#é–\x07", "${", "glob(", "range(", "choice(", "null", "true", "1" * 5000,
          "[" * 300, "hydra.", "..", "_target_", "nan", "inf", "--", "-m")  # fmt: skip


def typed(rng: np.random.Generator) -> list[str]:
    """One or two overrides with pieces put into them, or in the place of what was there."""
    line = rng.choice(LINES, int(rng.choice([1, 1, 2])), replace=False).tolist()
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        k = int(rng.integers(len(line)))
        at, n = int(rng.integers(len(line[k]) + 1)), int(rng.choice([0, 0, 1, 3]))
        line[k] = line[k][:at] + str(rng.choice(PIECES)) + line[k][at + n :]
    return line


def compose_or_explain(line: list[str], conf: Path) -> None:
    """As `hbac.cli.launch` does, without a job."""
    try:
        check_flags(line, conf, "train")
        given = with_empty_groups(flags_first(line), conf, "train")
        overrides = [text for text in given if not text.startswith("-")]
        try:
            check_overrides(overrides, conf, "train")
            with initialize_config_dir(str(conf), version_base="1.3"):
                compose("train", overrides, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            assert explained(error, overrides, conf, "train").strip()
        except (OSError, *NOT_COMPOSED) as error:  # of which the command says so
            if isinstance(error, UserError):
                raise
    except UserError as error:
        assert 0 < len(str(error).strip()) < 20_000


def test_overrides(conf: Path) -> None:
    for rng in rounds():
        compose_or_explain(typed(rng), conf)


@pytest.mark.parametrize("text", ["fold=range(nan,5)", "fold=range(0,inf)", "fold=range(0,5,0)", "a" * 5000 + "=1"])
def test_what_was_found(text: str, conf: Path) -> None:
    compose_or_explain([text], conf)
