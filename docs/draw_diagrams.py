"""Draw the diagrams of the noise and protocol pages as docs/pictures/schedule.svg and conditions.svg.

    PYTHONPATH=scripts python docs/draw_diagrams.py

Text has the size of the page and colours follow light or dark mode. The files need no fonts or scripts.
"""

from __future__ import annotations

from pathlib import Path

from nmer.noise.calibration import calibrate, snr_db
from nmer.noise.schedule import Schedule

FOLDER = Path(__file__).resolve().parent / "pictures"
VARIANCES = {"acoustic": 150.8, "visual": 2.204, "lexical": 0.0300}
"""Variances of CMU-MOSEI's modalities (SPEC 11)."""
LEVELS = (-10, -20, -30, -40)
LONGEST = 300
CONDITIONS = {"a": "a", "v": "v", "l": "l", "av": "av", "al": "al", "vl": "vl", "none": "", "avl": "avl"}
"""Name of a condition -> its clean modalities."""

STYLE = """<style>
:root { --ink: #222; --grid: #ccc; --a: #0072b2; --v: #b85c00; --l: #00805f; --noisy: #b85c00; --clean: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --grid: #555; --a: #56b4e9; --v: #e69f00; --l: #3ec9a0; --noisy: #e69f00; --clean: #56b4e9; }
}
text { font: 14px sans-serif; fill: var(--ink); }
.grid { stroke: var(--grid); stroke-width: 1; }
.curve { fill: none; stroke-width: 2; }
</style>"""


def text(x: float, y: float, label: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{label}</text>'


def line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def box(x: float, y: float, side: float, state: str) -> str:
    """Return a square for one modality; state: clean (filled) or noisy (dashed)."""
    filling = f'fill="var(--{state})"' if state == "clean" else 'fill="none" stroke-dasharray="4 3"'
    place = f'x="{x:.1f}" y="{y:.1f}" width="{side}" height="{side}" rx="4"'
    return f'<rect {place} stroke="var(--{state})" stroke-width="2" {filling}/>'


def picture(width: int, height: int, title: str, parts: list[str]) -> str:
    """Return the text of an SVG file."""
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    return "\n".join([opening, f"<title>{title}</title>", STYLE, *parts, "</svg>", ""])


def schedule() -> str:
    """Return the SNR against the number of steps T for three variances, with the T chosen at each level."""
    width, height, left, right, top, bottom = 680, 380, 60, 100, 16, 50
    highest, lowest = 40.0, -60.0

    def x(steps: float) -> float:
        return left + (width - left - right) * steps / LONGEST

    def y(db: float) -> float:
        return top + (height - top - bottom) * (highest - db) / (highest - lowest)

    parts = []
    for db in range(int(lowest), int(highest) + 1, 20):
        parts += [line(left, y(db), width - right, y(db)), text(left - 8, y(db) + 5, f"{db}".replace("-", "−"), "end")]
    for steps in range(0, LONGEST + 1, 50):
        parts += [line(x(steps), height - bottom, x(steps), height - bottom + 5)]
        parts += [text(x(steps), height - bottom + 20, str(steps))]
    chain = Schedule()
    for name, variance in VARIANCES.items():
        colour = f"var(--{name[0]})"
        curve = [(t, snr_db(chain.alpha_bar(t), variance)) for t in range(1, LONGEST + 1)]
        points = " ".join(f"{x(t):.1f},{y(db):.1f}" for t, db in curve if lowest <= db <= highest)
        parts.append(f'<polyline class="curve" stroke="{colour}" points="{points}"/>')
        for target in LEVELS:
            chosen = calibrate(target, variance, chain)
            parts.append(f'<circle cx="{x(chosen.steps):.1f}" cy="{y(chosen.attained_db):.1f}" r="4" fill="{colour}"/>')
        last_steps, last_db = [(t, db) for t, db in curve if db >= lowest][-1]
        parts.append(text(x(last_steps) + 6, y(last_db) + (5 if last_steps == LONGEST else -4), name, "start"))
    parts.append(text((left + width - right) / 2, height - 8, "steps T"))
    parts.append(
        f'<g transform="translate(16 {(top + height - bottom) / 2:.1f}) rotate(-90)">{text(0, 0, "SNR (dB)")}</g>'
    )
    return picture(width, height, "SNR against the number of steps for three modalities", parts)


def conditions() -> str:
    """Return one column per condition that shows which modalities are clean and which are noisy."""
    left, top, side, row_height, column_width = 90, 52, 44, 52, 68

    def centre(column: float) -> float:
        return left + column * column_width + side / 2

    parts = [text(centre(2.5), 18, "six incomplete conditions"), text(centre(6), 18, "Table 5")]
    parts.append(text(centre(7), 18, "reference"))
    for column, (name, clean) in enumerate(CONDITIONS.items()):
        parts.append(text(centre(column), 42, name))
        for row, modality in enumerate(VARIANCES):
            state = "clean" if modality[0] in clean else "noisy"
            parts.append(box(centre(column) - side / 2, top + row * row_height, side, state))
    parts += [text(left - 12, top + row * row_height + side / 2 + 5, name, "end") for row, name in enumerate(VARIANCES)]
    below = top + 3 * row_height + 14
    for column, state in enumerate(("clean", "noisy")):
        parts.append(box(left + column * 110, below, 16, state))
        parts.append(text(left + column * 110 + 24, below + 13, state, "start"))
    return picture(left + 8 * column_width, below + 26, "Clean and noisy modalities of every condition", parts)


PICTURES = {"schedule": schedule, "conditions": conditions}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(draw(), encoding="utf-8")
