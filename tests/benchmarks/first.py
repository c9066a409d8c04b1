"""The program that measures the first result, with no import that a user's would not have."""

import sys
import time


def main(label: str, output: str, started: int) -> None:
    """Write how many seconds it took, from the interpreter's start and from the pool's."""
    from benchmarks.candidates import LackingError
    from benchmarks.clusters import find
    from benchmarks.workload import same

    kind, method = find(label)
    try:
        began = time.monotonic_ns()
        pool = kind(method)
        pool.call(same, 1)
        ended = time.monotonic_ns()
        values = f'{{"whole": {(ended - started) / 1e9}, "pool": {(ended - began) / 1e9}}}'
    except LackingError as error:
        values, pool = f'{{"lacks": "{error}"}}', None
    with open(output, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib is not light
        file.write(values)
    if pool is not None:
        pool.close()


if __name__ == "__main__":
    main(sys.argv[2], sys.argv[4], int(sys.argv[5]))
