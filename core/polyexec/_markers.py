"""The pluggy markers, alone, so that both sides can import them without each other."""

from __future__ import annotations

import pluggy

PROJECT = "polyexec"

hookspec: pluggy.HookspecMarker = pluggy.HookspecMarker(PROJECT)
hookimpl: pluggy.HookimplMarker = pluggy.HookimplMarker(PROJECT)
