"""The command `llama-coop`. Each verb parses, calls the client and prints; rules are the service's."""

from __future__ import annotations

PROGRAM = "llama-coop"


def main() -> None:
    """Run the command line; ends the process with one of the documented exit codes."""
    # Start-up cost: the verbs are loaded when the command runs, not by importing this package.
    from llama_factory.cli.app import app  # noqa: PLC0415
    from llama_factory.cli.exits import run  # noqa: PLC0415
    from llama_factory.cli.topics import prepare_completion  # noqa: PLC0415

    prepare_completion()
    run(lambda: app(prog_name=PROGRAM))
