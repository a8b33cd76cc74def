"""llama-coop's public face: `from llama_factory import init_coop`.

Importing this package is cheap and never imports Django; the work is behind the call.
The package of LLaMA-Factory itself is called `llamafactory`, without the underscore.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.core.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from llama_factory.client import Coop

__all__ = ["__version__", "init_coop"]


def init_coop(
    max_workers: int | None = None,
    memory_threshold: float | None = None,
    log_dir: str | Path | None = None,
) -> Coop:
    """Connect to the service (or start one here), set what is given, and return a client.

    What is left out changes nothing.

    Args:
        max_workers: The most jobs that hold a card at once, site-wide.
        memory_threshold: The share of a card's memory, above 0 and at most 1, above which
            nothing more is placed on it.
        log_dir: Where links `<task_id>-<run>.log` to the logs go; relative to the current directory.

    Raises:
        PermissionError: The account may not change the site's settings; names those in force.
        TypeError: An argument has a wrong type.
        ValueError: An argument is out of its range.
        llama_factory.errors.CoopError: No service can be reached or started.
    """
    # Start-up cost: only who connects pays for loading an HTTP library.
    from llama_factory.bootstrap import connect  # noqa: PLC0415

    return connect(max_workers=max_workers, memory_threshold=memory_threshold, log_dir=log_dir)
