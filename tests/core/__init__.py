"""Unit tests of `polyexec` and of the thread context, one module a topic."""
