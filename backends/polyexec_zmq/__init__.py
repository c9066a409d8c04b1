"""The ZeroMQ cluster context: a head, a node on each machine, and the programs that use them."""
