"""fork, spawn and forkserver contexts: one worker pool, three ways to be born; not part of this release."""
