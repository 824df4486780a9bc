"""`polymath`: the command line. Only typer and rich are imported here; a command imports the rest when it runs."""

from __future__ import annotations

import signal
import sys

from .cli import app
from .lean import lean

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the `polymath` command."""
    try:
        with lean():
            app()
    except KeyboardInterrupt:  # before the command itself began
        sys.exit(130)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: Ctrl-C now would only spoil the tidying up


if __name__ == "__main__":
    main()
