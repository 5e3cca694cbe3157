"""Draw the order in which the jobs of an experiment run, as docs/pictures/jobs.svg; run after rules change.

python docs/draw_jobs.py
"""

from __future__ import annotations

from pathlib import Path

from layered import drawing

PICTURE = Path(__file__).resolve().parent / "pictures" / "jobs.svg"

SCORED = {"collect_scores", "find_chance", "compare_systems"}
READ_BY = {
    "generate_corpus": {"build_features"},
    "build_features": {"calibrate", "pretrain", "train_clean"},
    "calibrate": {"corrupt"},
    "corrupt": {"train", "fit_reference", "embed", "collect_calibration"},
    "pretrain": {"train"},
    "train_clean": {"train", "evaluate_clean"},
    "train": {"evaluate"},
    "evaluate": SCORED,
    "evaluate_clean": SCORED,
    "fit_reference": SCORED,
    "collect_scores": {"scores_table", "draw_figure"},
    "find_chance": {"scores_table", "draw_figure"},
    "compare_systems": {"draw_figure"},
    "collect_calibration": {"draw_figure"},
    "embed": {"draw_figure"},
    "draw_figure": {"audit_claims"},
    "audit_claims": {"report"},
    "scores_table": {"report"},
    "report": set(),
}
"""Rule of the demo -> rules that read its files, without those that others imply and without the table of sizes."""


def picture() -> str:
    """Return the drawing as SVG."""
    return drawing(READ_BY, "Order of the jobs of an experiment, from the corpus to the report")


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
