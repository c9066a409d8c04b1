"""Shows a progress bar for each executor, if switched on, and adds `polyexec progress`."""

from __future__ import annotations

from polyexec_progress._plugin import CommandPlugin, ProgressPlugin
from polyexec_progress._switch import obstacle

__all__ = ["plugin"]

#: What is registered; only when it shows something does it have hooks that tasks must call.
plugin: CommandPlugin = CommandPlugin() if obstacle() else ProgressPlugin()
