"""The names that the packages promise."""

import importlib
import inspect
import pickle
import pkgutil
from types import ModuleType

import pytest

import batch
import batch.errors
import connectors
import connectors.errors

ERROR_MODULES = [connectors.errors, batch.errors]


def test_every_promised_name_of_batch_is_there() -> None:
    assert {"BatchInferenceJob", "Dataset"} <= set(batch.__all__)
    for name in batch.__all__:
        assert getattr(batch, name) is not None


def test_an_unknown_name_of_batch_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = batch.no_such_name


def test_modules_promise_only_what_they_have() -> None:
    found = [
        importlib.import_module(module.name)
        for package in (connectors, batch)
        for module in pkgutil.walk_packages(package.__path__, prefix=f"{package.__name__}.")
        if not module.name.endswith("__main__")
    ]
    assert [f"{module.__name__}.{name}" for module in found for name in missing_names(module)] == []


def missing_names(module: ModuleType) -> list[str]:
    return [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)]


def error_classes() -> list[type[Exception]]:
    members = [kind for module in ERROR_MODULES for _, kind in inspect.getmembers(module, inspect.isclass)]
    return [kind for kind in members if issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_errors_cross_processes_unchanged(kind: type[Exception]) -> None:
    copy = pickle.loads(pickle.dumps(kind("what happened")))
    assert type(copy) is kind
    assert str(copy) == "what happened"


@pytest.mark.parametrize("module", ERROR_MODULES, ids=lambda module: module.__name__)
def test_the_error_tree_drawn_at_the_top_names_every_class(module: ModuleType) -> None:
    drawn = module.__doc__ or ""
    own = [kind.__name__ for kind in error_classes() if kind.__module__ == module.__name__]
    assert [name for name in own if name not in drawn] == []
