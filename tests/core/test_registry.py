"""What the registry does with the distributions it finds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

import polyexec
from core.fakes import python
from polyexec._registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Install = Callable[..., None]

GOOD = """
import polyexec

class Fake(polyexec.Context):
    def __init__(self, name="fake"): self.name = name
    def Executor(self, max_workers=None, **options): ...

@polyexec.hookimpl
def polyexec_create_context(): return Fake()
"""

OBSERVER = """
import polyexec
created = []

@polyexec.hookimpl
def polyexec_context_created(name, context): created.append((name, context))
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution with one module on `sys.path`, as an installer would."""

    def install(
        dist: str, *names: str, source: str = GOOD, group: str = "polyexec.backends"
    ) -> None:
        module = dist.replace("-", "_")
        info = tmp_path / dist / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {module}\n" for name in names)
        (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
        (tmp_path / dist / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path / dist)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


def _make(name: str, **options: Any) -> polyexec.Context:
    return Registry().create_context(name, options)


# -- finding -------------------------------------------------------------------------------------


def test_a_strangers_backend_is_found_by_name(install: Install) -> None:
    install("acme-exec", "acme")
    assert _make("acme").name == "fake"
    assert Registry().available()["acme"] == "acme-exec 1.0"


def test_a_backend_is_imported_only_when_asked_for(install: Install) -> None:
    install("acme-exec", "acme")
    registry = Registry()
    registry.create_context("thread", {})
    registry.available()
    assert "acme_exec" not in sys.modules
    registry.create_context("acme", {})
    assert "acme_exec" in sys.modules


def test_each_call_makes_a_new_context(install: Install) -> None:
    install("acme-exec", "acme")
    registry = Registry()
    assert registry.create_context("acme", {}) is not registry.create_context("acme", {})


def test_a_backend_gets_the_name_and_the_options(install: Install) -> None:
    source = GOOD.replace("context(): return Fake()", "context(name, options):")
    source += "    context = Fake(name); context.options = options; return context\n"
    install("acme-exec", "acme", source=source)
    context: Any = _make("acme", address="here")
    assert (context.name, context.options) == ("acme", {"address": "here"})


def test_one_module_may_serve_several_names(install: Install) -> None:
    source = GOOD.replace("context(): return Fake()", "context(name): return Fake(name)")
    install("two-exec", "one", "two", source=source)
    registry = Registry()
    assert [registry.create_context(name, {}).name for name in ("one", "two")] == ["one", "two"]


def test_a_module_may_be_backend_and_observer(install: Install, tmp_path: Path) -> None:
    install("both-exec", "both", source=GOOD + OBSERVER)
    info = tmp_path / "both-exec" / "both_exec-1.0.dist-info" / "entry_points.txt"
    info.write_text(info.read_text() + "[polyexec.plugins]\nboth = both_exec\n")
    registry = Registry()
    context = registry.create_context("both", {})
    assert sys.modules["both_exec"].created == [("both", context)]


def test_the_default_options_are_none() -> None:
    with pytest.raises(TypeError, match="has no option 'adress'"):
        _make("thread", adress="x")


def test_options_need_a_name() -> None:
    with pytest.raises(TypeError, match="only with a name"):
        polyexec.get_context(address="x")


def test_a_name_must_be_a_string() -> None:
    with pytest.raises(TypeError, match="string, not 3"):
        _make(3)  # type: ignore[arg-type]  # the mistake


# -- failures ------------------------------------------------------------------------------------


def test_an_unknown_name_lists_the_installed_ones() -> None:
    with pytest.raises(
        polyexec.BackendNotFoundError, match=r"no context is called 'nope'; installed: .*thread"
    ):
        _make("nope")


def test_an_unknown_name_names_the_one_meant() -> None:
    with pytest.raises(polyexec.BackendNotFoundError, match=r"did you mean 'thread'\?"):
        _make("treads")


def test_two_claims_to_one_name_are_refused(install: Install) -> None:
    install("acme-exec", "acme")
    install("emca-exec", "acme")
    with pytest.raises(polyexec.DuplicateBackendError, match=r"acme-exec 1\.0 and emca-exec 1\.0"):
        _make("acme")


def test_blocking_one_distribution_settles_a_duplicate(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-exec", "acme")
    install("emca-exec", "acme")
    monkeypatch.setenv("POLYEXEC_BLOCK", "Emca_Exec")
    assert type(_make("acme")).__module__ == "acme_exec"


def test_a_backend_blocked_by_name_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYEXEC_BLOCK", "other, thread")
    with pytest.raises(
        polyexec.BackendNotFoundError, match=r"'thread' of polyexec .* is blocked by POLYEXEC_BLOCK"
    ):
        _make("thread")
    assert "thread" not in Registry().available()


def test_a_backend_blocked_by_distribution_says_so(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-exec", "acme")
    monkeypatch.setenv("POLYEXEC_BLOCK", "acme-exec")
    with pytest.raises(polyexec.BackendNotFoundError, match=r"acme-exec 1\.0 is blocked"):
        _make("acme")
    assert [info.blocked for info in Registry().backends() if info.name == "acme"] == [True]


def test_a_backend_that_fails_to_import_hurts_nobody_else(install: Install) -> None:
    install("bad-exec", "bad", source="raise RuntimeError('boom')")
    registry = Registry()
    for _ in range(2):
        with pytest.raises(
            polyexec.BackendLoadError, match=r"'bad' of bad-exec 1\.0 .*boom"
        ) as caught:
            registry.create_context("bad", {})
        assert isinstance(caught.value.__cause__, RuntimeError)
    assert registry.create_context("thread", {}).name == "thread"


def test_a_backend_that_exits_on_import_is_a_load_error(install: Install) -> None:
    install("bad-exec", "bad", source="raise SystemExit('needs a licence')")
    with pytest.raises(polyexec.BackendLoadError, match="needs a licence"):
        _make("bad")


@pytest.mark.parametrize("made", ["None", "object()", "Fake"])
def test_a_backend_that_makes_no_context_is_a_load_error(install: Install, made: str) -> None:
    install("odd-exec", "odd", source=GOOD.replace("return Fake()", f"return {made}"))
    with pytest.raises(
        polyexec.BackendLoadError, match=r"odd-exec 1\.0 made .*not a polyexec\.Context"
    ):
        _make("odd")


def test_a_backend_without_a_hook_is_a_load_error(install: Install) -> None:
    install("odd-exec", "odd", source=GOOD.replace("@polyexec.hookimpl", ""))
    registry = Registry()
    for _ in range(2):
        with pytest.raises(polyexec.BackendLoadError, match=r"mark it with polyexec\.hookimpl"):
            registry.create_context("odd", {})


def test_an_import_that_fails_late_is_a_load_error(install: Install) -> None:
    install("bad-exec", "bad", source=GOOD.replace("return Fake()", "import no_such_module"))
    with pytest.raises(polyexec.BackendLoadError, match=r"bad-exec 1\.0"):
        _make("bad")


def test_a_hook_with_an_unknown_argument_is_incompatible(install: Install) -> None:
    install("odd-exec", "odd", source=GOOD.replace("context():", "context(colour):"))
    registry = Registry()
    for _ in range(2):
        with pytest.raises(polyexec.IncompatibleBackendError, match="colour"):
            registry.create_context("odd", {})


def test_another_plugin_api_is_incompatible(install: Install) -> None:
    install("new-exec", "new", source=GOOD + "POLYEXEC_API = 2\n")
    with pytest.raises(
        polyexec.IncompatibleBackendError, match=r"new-exec 1\.0 speaks plugin API 2"
    ):
        _make("new")


# -- observers -----------------------------------------------------------------------------------


def test_observers_are_loaded_with_the_first_context(install: Install) -> None:
    install("watch-plugin", "watch", source=OBSERVER, group="polyexec.plugins")
    context = _make("thread")
    assert sys.modules["watch_plugin"].created == [("thread", context)]


@pytest.mark.parametrize(
    "source",
    [
        "raise RuntimeError('boom')",
        "raise SystemExit('boom')",
        "import polyexec\n@polyexec.hookimpl\ndef polyexec_task_started(boom): ...",
    ],
    ids=["import", "exit", "argument"],
)
def test_a_broken_observer_is_ignored_with_a_warning(install: Install, source: str) -> None:
    install("bad-plugin", "bad", source=source, group="polyexec.plugins")
    with pytest.warns(polyexec.PolyexecWarning, match=r"'bad' of bad-plugin 1\.0 is ignored.*boom"):
        assert _make("thread").name == "thread"


def test_a_broken_observer_keeps_no_other_from_being_loaded(install: Install) -> None:
    install("watch-plugin", "watch", source=OBSERVER, group="polyexec.plugins")
    install("bad-plugin", "bad", source="raise RuntimeError('boom')", group="polyexec.plugins")
    with pytest.warns(polyexec.PolyexecWarning, match="boom"):
        _make("thread")
    assert len(sys.modules["watch_plugin"].created) == 1


@pytest.mark.parametrize("kind", ["wrapper", "hookwrapper"])
def test_a_hook_that_would_wrap_others_is_refused(install: Install, kind: str) -> None:
    source = OBSERVER.replace("@polyexec.hookimpl", f"@polyexec.hookimpl({kind}=True)")
    source = source.replace("created.append(", "yield created.append(")
    install("watch-plugin", "watch", source=source, group="polyexec.plugins")
    with pytest.warns(polyexec.PolyexecWarning, match="marked as a wrapper"):
        _make("thread")


def test_a_blocked_observer_is_not_loaded(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("watch-plugin", "watch", source=OBSERVER, group="polyexec.plugins")
    monkeypatch.setenv("POLYEXEC_BLOCK", "watch-plugin")
    _make("thread")
    assert "watch_plugin" not in sys.modules


def test_an_observer_may_bear_the_name_of_a_backend(install: Install) -> None:
    install("watch-plugin", "thread", source=OBSERVER, group="polyexec.plugins")
    assert _make("thread").name == "thread"
    assert len(sys.modules["watch_plugin"].created) == 1


def test_an_observer_makes_no_context_for_others(install: Install) -> None:
    source = GOOD.replace("@polyexec.hookimpl", "@polyexec.hookimpl(tryfirst=True)")
    install("hijack-plugin", "hijack", source=source, group="polyexec.plugins")
    assert _make("thread").name == "thread"


def test_asking_who_has_a_capability_tells_no_observer(install: Install) -> None:
    install("watch-plugin", "watch", source=OBSERVER, group="polyexec.plugins")
    install("acme-exec", "acme")
    registry = Registry()
    registry.create_context("thread", {})
    registry.having("kill_running", besides="thread")
    assert len(sys.modules["watch_plugin"].created) == 1


def test_a_context_made_to_see_what_it_can_do_is_closed(install: Install) -> None:
    source = GOOD.replace("class Fake", "closed = []\nclass Fake").replace(
        "    def Executor", "    def close(self): closed.append(self)\n    def Executor"
    )
    install("acme-exec", "acme", source=source)
    Registry().having("kill_running", besides="thread")
    module: Any = sys.modules.get("acme_exec")
    assert module is None or len(module.closed) == 1


# -- the default context -------------------------------------------------------------------------


def test_the_environment_chooses_the_default_context() -> None:
    code = "import polyexec; print(polyexec.get_start_method(), polyexec.get_context().name)"
    done = python(code, env={"POLYEXEC_CONTEXT": "thread", "PATH": ""})
    assert done.stdout.split() == ["thread", "thread"]


def test_the_default_context_is_chosen_once() -> None:
    code = """
        import polyexec
        assert polyexec.get_start_method(allow_none=True) is None
        polyexec.set_start_method("thread")
        try:
            polyexec.set_start_method("thread")
        except RuntimeError:
            print("refused")
        polyexec.set_start_method("thread", force=True)
        print(polyexec.get_all_start_methods()[0] in polyexec.available_contexts())
    """
    assert python(code).stdout.split() == ["refused", "True"]


def test_a_bad_default_context_is_an_error_when_it_is_used() -> None:
    code = "import polyexec; polyexec.Lock()"
    done = python(code, env={"POLYEXEC_CONTEXT": "tread", "PATH": ""})
    assert "BackendNotFoundError" in done.stderr
    assert "did you mean 'thread'?" in done.stderr
