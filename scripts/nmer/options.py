"""Options of plug-ins: the annotations that limit their values, and the check of a value.

A plug-in declares an option once, with its default and its limits: systems as an annotated attribute of the class, all
others as a keyword-only argument of the function::

    width: Annotated[int, Bounds(1)] = 128
    form: Literal["ring", "hier"] = "ring"

:mod:`nmer.source` reads such declarations from the source code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Bounds:
    """Limits of a number, both included; None = unlimited."""

    least: float | None = None
    most: float | None = None


Count = Annotated[int, Bounds(1)]
"""A number of things, at least one."""

Share = Annotated[float, Bounds(0.0, 1.0)]
"""A share, rate or probability."""

Weight = Annotated[float, Bounds(0.0)]
"""The weight of a term of a loss."""


@dataclass(frozen=True)
class Option:
    """One option. choices: its possible values, empty if it is not limited to a few."""

    default: Any
    bounds: Bounds = Bounds()
    choices: tuple[Any, ...] = ()

    def reject(self, value: object) -> str:
        """Why a value is not possible, as a sentence and a remedy; empty if it is possible."""
        if not self._has_its_type(value):
            return f"{value!r} is not like its default {self.default!r}. Correct it."
        if self.choices and value not in self.choices:
            return f"{value!r} is not possible. Choose from: {', '.join(map(str, self.choices))}."
        least, most = self.bounds.least, self.bounds.most
        # NaN is neither above nor below a bound, so ask whether the value is within them.
        if least is not None and not value >= least:  # type: ignore[operator]
            return f"{value!r} is too small. Give at least {least}."
        if most is not None and not value <= most:  # type: ignore[operator]
            return f"{value!r} is too large. Give at most {most}."
        return ""

    def _has_its_type(self, value: object) -> bool:
        if self.default is None or type(value) is type(self.default):
            return True
        return isinstance(self.default, float) and isinstance(value, int) and not isinstance(value, bool)
