"""The README is right: the keys, the files and commands it names, the YAML and the result it shows."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from assets.spec.load import read_spec
from assets.spec.reference import reference, undescribed

ROOT = Path(__file__).resolve().parents[3]

README = (ROOT / "README.md").read_text()


def test_every_key_is_explained():
    assert undescribed() == []


def test_the_tables_are_those_of_the_models():
    assert reference() in README, "next: .venv/bin/python -m assets.spec.reference README.md"


def test_the_yaml_it_shows_is_accepted():
    (shown,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    document = yaml.safe_load(shown)
    document["attributes"]["partitions"]["start"] = "2024-01-01"
    assert read_spec(document["attributes"], name="products").columns.keys() == {
        "photo",
        "price",
        "color",
        "tags",
    }


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_lead_somewhere(document):
    targets = re.findall(r"\]\(([^)]+)\)", (ROOT / document).read_text())
    missing = [target for target in targets if "://" not in target and not (ROOT / target).exists()]
    assert not missing


def test_make_targets_exist():
    listed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    targets = set(re.findall(r"^  ([a-z]+) ", listed, re.MULTILINE))
    assert {"demo", "test", "ui", "check", "bench", "clean", "stop"} <= targets
    assert set(re.findall(r"`make ([a-z]+)`", README)) <= targets
