"""How a cluster is named by the environment, and how long one waits for it if not told."""

from __future__ import annotations

from typing import Final

#: The variables that name an address; a file of address and keys; and that there are no keys.
ADDRESS: Final = "POLYEXEC_ZMQ_ADDRESS"
CONNECTION_FILE: Final = "POLYEXEC_ZMQ_CONNECTION_FILE"
INSECURE: Final = "POLYEXEC_ZMQ_INSECURE"

#: How many seconds waits go on without a head.
RECONNECT_TIMEOUT: Final = 60.0
#: How many seconds the first connection may take.
CONNECT_TIMEOUT: Final = 10.0
