"""The `fork`, `spawn` and `forkserver` contexts: one worker pool, three ways to be born.

Empty, for every worker imports it; what the entry points name is `_plugin`.
"""
