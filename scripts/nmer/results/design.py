"""The units of a dataset's variances, in words. The division into units is in ``contributions``."""

from __future__ import annotations

from nmer.results.contributions import FEWEST_CLUSTERS, Design


def unit_text(design: Design) -> str:
    """Return the units that a new test would draw, e.g. ``31 speakers or videos``."""
    if design.folds > 1:
        text = f"{design.folds} folds"
        if design.is_crossed:
            return f"{text} and {design.clusters} speakers or videos (two-way)"
        return f"{text}, each with its own speakers or videos" if design.has_clusters else f"{text}{_why(design)}"
    if design.has_clusters:
        return f"{design.clusters} speakers or videos"
    return f"{design.utterances} utterances{_why(design)}"


def _why(design: Design) -> str:
    if not design.clusters:
        return " (speakers or videos are unknown)"
    return f" (fewer than {FEWEST_CLUSTERS} speakers or videos: {design.clusters})"
