"""What there is to know of systems without importing torch: their registry, read by the plan at parse time."""

from __future__ import annotations

from nmer.plugins import Registry

systems = Registry("system", "system", "nmer.systems")
system = systems.register
