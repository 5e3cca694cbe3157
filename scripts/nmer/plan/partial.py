"""What a partial report is drawn from: the arguments of each drawing step, where its sources exist."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nmer.plan.plan import Plan, source_arguments


def figure_step(plan: Plan, name: str, made: Path) -> tuple[list[str], str] | None:
    """The arguments of the step that draws a figure, and its code; None if nothing exists of one of its sources.

    made: the folder with the scores and statistics of the partial report.
    """
    planned = plan.figure_sources(plan.drawings[name], made)
    found = {source: [file for file in files if file.exists()] for source, files in planned.items()}
    if any(planned[source] and not files for source, files in found.items()):
        return None
    w: Any = SimpleNamespace(figure=name)
    return ["--settings", plan.figure_settings(w), *source_arguments(found)], plan.code("draw_figure.py", w)
