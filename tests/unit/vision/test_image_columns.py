"""Image columns that cannot be built are refused when they are read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from assets.spec.images import ImageColumn, UrlPolicy
from assets.vision.recipe import Recipe

GOOD = {"kind": "image", "path": "image", "size": [8, 8]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": None}, "give size"),
        ({"fit": "none"}, "give size"),
        ({"size": [0, 8]}, "greater than or equal to 1"),
        ({"size": [8, 70_000]}, "less than or equal to 65535"),
        ({"shorter_side": 4}, "less than a side"),
        ({"shorter_side": 16, "fit": "contain"}, "goes with fit: cover"),
        ({"dtype": "uint16"}, "goes with mode keep16"),
        ({"mode": "keep16"}, "goes with dtype uint16"),
        ({"sources": ["url"]}, "urls.hosts"),
        ({"store": "encoded", "mode": "keep16", "dtype": "uint16"}, "store encoded goes with"),
        ({"sources": []}, "at least 1"),
        ({"sources": ["ftp"]}, "bytes"),
        ({"filter": "cubic"}, "bicubic"),
        ({"pad_color": [0, 0, 256]}, "less than or equal to 255"),
        ({"urls": {"hosts": ["http://example.com"]}}, "no host name"),
        ({"urls": {"hosts": ["127.0.0.1"]}}, "is an address"),
        ({"urls": {"networks": ["169.254.0.0/16"]}}, "not link-local"),
        ({"urls": {"networks": ["0.0.0.0/0"]}}, "one private network"),
        ({"colour": "red"}, "unknown key colour"),
    ],
)
def test_it_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ImageColumn.model_validate({**GOOD, **change})


def test_the_fingerprint_follows_the_pixels_and_not_the_caps() -> None:
    base = Recipe.of(ImageColumn.model_validate(GOOD))
    caps = Recipe.of(ImageColumn.model_validate({**GOOD, "max_pixels": 5, "timeout_seconds": 1}))
    assert base.fingerprint == caps.fingerprint
    changes = (
        {"filter": "area"},
        {"size": [8, 9]},
        {"fast": True},
        {"alpha_color": [0, 0, 0]},
        {"mode": "gray"},
    )
    prints = {Recipe.of(ImageColumn.model_validate({**GOOD, **change})).fingerprint for change in changes}
    assert len(prints | {base.fingerprint}) == len(changes) + 1
    assert Recipe.from_json(base.to_json()) == base


def test_hosts_are_compared_in_lower_case() -> None:
    assert UrlPolicy(hosts=["Images.Example.COM."]).hosts == ["images.example.com"]
