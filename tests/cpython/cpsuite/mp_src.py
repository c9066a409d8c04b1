"""The namespace in which the interpreter's ``test/_test_multiprocessing.py`` is executed.

What is defined there pickles as ``cpsuite.mp_src.X``, so that a child re-creates the same binding.
Names of this module's own start with an underscore, to stay out of the way.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from cpsuite import helpers as _helpers
from cpsuite import imports as _imports
from cpsuite import source as _source

if _TYPE_CHECKING:
    from typing import Any as _Any

    def __getattr__(name: str) -> _Any: ...


_source.exec_into(_source.multiprocessing_source(), globals(), _imports.MULTIPROCESSING)
_helpers.replace_in(globals())
