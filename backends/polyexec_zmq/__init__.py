"""The ZeroMQ cluster context: head, node and client; not part of this release."""
