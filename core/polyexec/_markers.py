"""The pluggy markers, alone, so that both sides can import them without each other."""

from __future__ import annotations

import pluggy

PROJECT = "polyexec"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
