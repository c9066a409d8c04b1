"""Large data over loopback TCP, encrypted: our cluster's beside TLS alone."""

from __future__ import annotations

from benchmarks import tls
from benchmarks.clusters import TCP
from benchmarks.model import Aim, Metric, Row, Values, Variant, named
from benchmarks.rows.clustered import echo

TLS = "TLS alone"


def encrypted(variant: Variant, quick: bool) -> Values:  # noqa: FBT001 - see Row
    """Measure arrays there and back."""
    return tls.echo(3 if quick else 8) if variant.label == TLS else echo(variant, quick)


ROWS = (
    Row(
        "cluster-encrypted",
        "A NumPy array of 64 MB over loopback TCP, encrypted, and back",
        "Ours with CURVE, a head with `--bulk` and a node by command: chunks go through the head, "
        "encrypted from end to end. For comparison the standard library's `ssl` between two "
        "processes: one sends 64 MB in pieces of 1 MB, the other sends them back when it has all.",
        (Metric("rate", "rate", "MB/s", more=True), Metric("cpu", "CPU", "ms")),
        encrypted,
        lambda _: named(TCP, TLS),
        (Aim("60 per cent of the rate of TLS", "rate", 0.6, (TLS,), (TCP,)),),
        reference=TLS,
        limit=(120.0, 90.0),
    ),
)
