"""The version, in the one place that everything else reads; it lies at the bottom so that every layer may."""

from __future__ import annotations

__version__ = "0.1.0"
