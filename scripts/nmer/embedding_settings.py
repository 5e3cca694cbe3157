"""Defaults of the t-SNE of Figure 3, for the plan and for the step that computes it (SPEC 6.5)."""

from __future__ import annotations

SAMPLES, PERPLEXITY = 128, 30

EMBEDDING = {"samples": SAMPLES, "perplexity": PERPLEXITY, "seed": 0}
"""The keys of an experiment's section ``embedding`` that the step reads."""
