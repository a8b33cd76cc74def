"""`python -m coop_site.serve`: start the service of this COOP_HOME, find the one that runs, or stop it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import django
from django.core.exceptions import ImproperlyConfigured

from coop_site.binding import BindingRefused, binding_from


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to stop; the exit code."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "coop_site.settings")
    try:
        binding = binding_from(options, os.environ)
        django.setup()
        from coop_site import running  # noqa: PLC0415 - imports models, which need the line above

        if options.stop:
            return running.stop()
        return running.wait() if options.wait else running.serve(binding)
    except (BindingRefused, ImproperlyConfigured) as refused:
        print(f"llama-coop: {refused}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # while preparing; once services run, the signal is waited for
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llama-coop serve", description="Start the service, or find the one that runs."
    )
    parser.add_argument("--port", type=int, help="default: COOP_PORT, else 8900; 0: any free one")
    parser.add_argument(
        "--host", help="default: COOP_HOST, else 127.0.0.1; with a shared token, all interfaces"
    )
    parser.add_argument(
        "--auth-token", help="shared token; shows in process lists: prefer the next one"
    )
    parser.add_argument("--auth-token-file", help="file that holds the shared token alone")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--stop", action="store_true", help="stop the running service; jobs go on")
    other.add_argument(
        "--wait", action="store_true", help="wait until the service that is starting is ready"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
