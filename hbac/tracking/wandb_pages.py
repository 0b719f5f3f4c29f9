"""W&B's pages of a project, as code: what to look at while folds are trained, and what to hand on when they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hbac.labels.targets import DEFAULT_POPULATION, POPULATIONS, kl_name, logged, population_of
from hbac.vocabulary import CLASSES

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

_COUNTED = population_of(DEFAULT_POPULATION)


def make_workspace(entity: str, project: str) -> Workspace:
    """Compose the workspace, not saved: runs by member, scores first, classes in a section, then how training goes."""
    import wandb_workspaces.expr as expr
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as ws

    scores = [
        panels.LinePlot(title=f"KL, {group.rows}", x="epoch", y=[logged(kl_name(name))])
        for name, group in POPULATIONS.items()
    ]
    classes = [panels.LinePlot(title=f"{name}, {_COUNTED.rows}", x="epoch", y=[_of_class(name)]) for name in CLASSES]
    training = [
        panels.LinePlot(title=name, x="epoch", y=[f"train/{name}"]) for name in ("kl", "grad_norm", "windows_per_s")
    ]
    looks = [panels.MediaBrowser(title="worst windows", media_keys=["worst_windows_pictures"])]
    sections = (("Scores", scores), ("Classes", classes), ("Training", training), ("Windows", looks))
    return ws.Workspace(
        entity=entity,
        project=project,
        name="hbac",
        sections=[ws.Section(name=name, panels=list(shown), is_open=name != "Windows") for name, shown in sections],
        runset_settings=ws.RunsetSettings(groupby=[expr.Metric("Group")]),
    )


def make_report(entity: str, project: str) -> Report:
    """Compose the report, not saved: the scores of members and ensembles, and of their classes."""
    import wandb_workspaces.reports.v2 as wr

    folds = wr.Runset(entity=entity, project=project, name="folds", filters="Metric('JobType') == 'train'")
    folds.groupby = ["Group"]
    ensembles = wr.Runset(entity=entity, project=project, name="ensembles", filters="Metric('JobType') == 'ensemble'")
    return wr.Report(
        entity=entity,
        project=project,
        title="Harmful brain activity: members and ensembles",
        description="Out-of-fold KL divergence in nats; lower is better.",
        blocks=[
            wr.H1("Ensembles"),
            wr.P("Nested: the weights that blend the rows of a fold were fitted on the other folds."),
            wr.PanelGrid(runsets=[ensembles], panels=[wr.BarPlot(title="KL", metrics=["kl", "kl_in_sample"])]),
            wr.H1("Members"),
            wr.P("The mean of a member's folds; each predicts only patients that it never saw."),
            wr.PanelGrid(
                runsets=[folds],
                panels=[
                    wr.BarPlot(title="KL of the rows that count", metrics=["kl"]),
                    wr.LinePlot(title=_COUNTED.rows, x="epoch", y=[logged(kl_name(_COUNTED.name))]),
                    wr.BarPlot(title="classes", metrics=[_of_class(name) for name in CLASSES]),
                ],
            ),
        ],
    )


def outline(page: Workspace | Report) -> dict[str, list[str]]:
    """Say what metrics a page shows by section, or by set of runs; W&B's own form of it asks for an account."""
    sections = getattr(page, "sections", None)
    if sections is None:
        grids = [block for block in page.blocks if hasattr(block, "runsets")]
        return {grid.runsets[0].name: _metrics(grid.panels) for grid in grids}
    return {section.name: _metrics(section.panels) for section in sections}


def _metrics(panels: Iterable[Any]) -> list[str]:
    lists = [getattr(panel, kind, None) or [] for panel in panels for kind in ("y", "metrics", "media_keys")]
    return [str(getattr(key, "name", key)) for keys in lists for key in keys]


def _of_class(name: str) -> str:
    return f"val_by_class/{kl_name(_COUNTED.name, name)}"
