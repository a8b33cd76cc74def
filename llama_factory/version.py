"""The version, under the face's own name."""

from __future__ import annotations

from jobs.core.version import __version__ as __version__  # noqa: PLC0414 - re-exported on purpose
