"""The command line: `polyexec` and `python -m polyexec`."""

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> int:
    """Run the command that `sys.argv` names, and return the exit code.

    click and rich come with the extra `cli` and are imported from here on only: workers import this
    package for the tasks of `polyexec map`, and need neither.
    """
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing:
        sys.stderr.write(
            f"polyexec: the command line needs {' and '.join(missing)};"
            f" install {'it' if len(missing) == 1 else 'them'} with: pip install 'polyexec[cli]'\n"
        )
        return 2
    from polyexec.cli._app import run

    return run(sys.argv[1:])
