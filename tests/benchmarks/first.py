"""The program that measures the first result, with no import that a user's would not have."""

import sys
import time


def main(label: str, output: str, started: int) -> None:
    """Write how many seconds it took since the interpreter's start, the import, the pool."""
    from benchmarks.candidates import LackingError
    from benchmarks.clusters import find
    from benchmarks.workload import same

    kind, method = find(label)
    try:
        began = time.monotonic_ns()
        pool = kind(method)
        pool.call(same, 1)
        ended = time.monotonic_ns()
        spans = (ended - since for since in (started, began, pool.loaded))
        values = '{{"whole": {}, "pool": {}, "made": {}}}'.format(*(span / 1e9 for span in spans))
    except LackingError as error:
        values, pool = f'{{"lacks": "{error}"}}', None
    with open(output, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib is not light
        file.write(values)
    if pool is not None:
        pool.close()


if __name__ == "__main__":
    main(sys.argv[2], sys.argv[4], int(sys.argv[5]))
