"""The fork, spawn and forkserver contexts; not part of this release."""
