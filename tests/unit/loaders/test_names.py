"""What `loaders` offers: every public name, and every error that it raises itself."""

from __future__ import annotations

import loaders
from loaders import errors


def test_every_public_name_is_there() -> None:
    assert sorted(loaders.__all__) == loaders.__all__
    assert sorted(loaders._HOMES) == loaders.__all__
    assert all(getattr(loaders, name) is not None for name in loaders.__all__)


def test_every_error_is_public() -> None:
    found = {name for name, value in vars(errors).items() if isinstance(value, type)} - {"Iterable"}
    assert found <= set(loaders.__all__)
    assert all(issubclass(getattr(loaders, name), loaders.LoaderError) for name in found)
    assert "CacheFull" in found
