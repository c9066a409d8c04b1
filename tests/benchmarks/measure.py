"""The program that measures one variant of one row: ROW VARIANT QUICK OUTPUT STARTED."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.model import Values


def main(name: str, label: str, quick: str, output: str) -> None:
    """Write what was measured into the file *output*, which appears when it is complete."""
    from benchmarks import accounting, candidates, rows

    accounting.adopt_orphans()
    row = next(row for row in (*rows.ROWS, *rows.CLUSTER_ROWS) if row.name == name)
    variant = next(one for one in row.variants(bool(int(quick))) if one.label == label)
    values: Values
    try:
        values = row.measure(variant, bool(int(quick)))
    except candidates.LackingError as error:
        values = {"lacks": str(error)}
    except Exception as error:  # noqa: BLE001 - other libraries fail in any way, and it is shown
        values = {"failed": f"{type(error).__name__}: {error}".splitlines()[0][:80]}
    draft = Path(output + ".draft")
    draft.write_text(json.dumps(values), encoding="utf-8")
    draft.rename(output)


if __name__ == "__main__":
    main(*sys.argv[1:5])
