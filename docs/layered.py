"""Draw a graph in rows as SVG, with every arrow pointing down. The file needs no fonts or scripts."""

from __future__ import annotations

from graphlib import TopologicalSorter

WIDTH, BOX, HEIGHT, GAP = 1000, 170, 38, 60
"""Width of the picture, width and height of a box, and the gap between rows, in pixels."""

STYLE = """
  .box { fill: #e8eaf6; stroke: #3f51b5; }
  .name { font: 600 15px sans-serif; fill: #1a237e; text-anchor: middle; }
  .arrow { fill: none; stroke: #546e7a; stroke-width: 1.4; marker-end: url(#head); }
"""


def reduced(direct: dict[str, set[str]]) -> tuple[dict[str, set[str]], dict[str, int]]:
    """Return the arrows without those that others imply, and the row of every box, 0 at the bottom.

    Raises graphlib.CycleError if boxes point to each other.
    """
    everything: dict[str, set[str]] = {}
    row: dict[str, int] = {}
    for box in TopologicalSorter(direct).static_order():
        everything[box] = direct[box].union(*(everything[below] for below in direct[box]))
        row[box] = 1 + max((row[below] for below in direct[box]), default=-1)
    few = {box: below - set().union(*(everything[one] for one in below)) for box, below in direct.items()}
    return few, row


def positions(
    few: dict[str, set[str]], row: dict[str, int]
) -> tuple[dict[str, float], dict[tuple[str, str], list[float]]]:
    """Return the horizontal centre of every box, and for every arrow where it crosses the rows between its ends.

    Rows are placed from the top. A box or a crossing follows the mean of what is above it, ties the order of names.
    """
    at: dict[str, float] = {}
    crossings: dict[tuple[str, str], list[float]] = {(box, below): [] for box in few for below in few[box]}
    for level in range(max(row.values()), -1, -1):
        placed: list[tuple[float, str, tuple[str, str] | None]] = []
        for box in row:
            if row[box] == level:
                above = [([at[upper], *passed][-1]) for (upper, lower), passed in crossings.items() if lower == box]
                placed.append((sum(above) / len(above) if above else WIDTH / 2, box, None))
        for (upper, lower), passed in crossings.items():
            if row[lower] < level < row[upper]:
                placed.append(([at[upper], *passed][-1], lower, (upper, lower)))
        placed.sort(key=lambda one: one[:2])
        gap = (WIDTH - sum(BOX for *_, arrow in placed if arrow is None)) / (len(placed) + 1)
        left = gap
        for _mean, box, arrow in placed:
            if arrow is None:
                at[box] = left + BOX / 2
                left += BOX
            else:
                crossings[arrow].append(left)
            left += gap
    return at, crossings


def drawing(direct: dict[str, set[str]], title: str) -> str:
    """Return an SVG in which an arrow points from every box to the boxes below it.

    direct: box -> boxes that its arrows point to. Raises graphlib.CycleError if boxes point to each other.
    """
    few, row = reduced(direct)
    at, crossings = positions(few, row)
    top = {box: 10 + (max(row.values()) - level) * (HEIGHT + GAP) for box, level in row.items()}
    height = max(top.values()) + HEIGHT + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{title}</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#546e7a"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
    ]
    for (upper, lower), passed in sorted(crossings.items()):
        x, y = at[upper], top[upper] + HEIGHT
        path = f"M{x:.0f},{y}"
        for step, following in enumerate([*passed, at[lower]]):
            start = y if step == 0 else y + step * (HEIGHT + GAP) - HEIGHT
            end = y + step * (HEIGHT + GAP) + GAP
            path += (
                f" V{start} C{x:.0f},{start + GAP / 2:.0f} {following:.0f},{end - GAP / 2:.0f} {following:.0f},{end}"
            )
            x = following
        lines.append(f'<path class="arrow" d="{path}"/>')
    for box in sorted(at):
        x, y = at[box], top[box]
        lines += [
            f'<rect class="box" x="{x - BOX / 2:.0f}" y="{y}" width="{BOX}" height="{HEIGHT}" rx="6"/>',
            f'<text class="name" x="{x:.0f}" y="{y + 24}">{box}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
