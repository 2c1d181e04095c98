"""Dataset specifications out of YAML files, refused with file, line and what is allowed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from assets.spec.dataset import DatasetSpec
from assets.spec.errors import KeyPath, Problem, SpecError
from assets.spec.messages import explain

TYPE_NAME = "assets.MongoDataset"
"""What `type:` says in a `defs.yaml` that declares a dataset."""


class _Loader(yaml.SafeLoader):
    """Safe YAML; dates stay strings, so that they mean the same wherever the file is read."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """One document of a YAML file, the line of every key, and keys given twice (with both lines)."""

    file: str
    value: Any
    lines: Mapping[KeyPath, int]
    repeated: Sequence[tuple[KeyPath, int, int]]

    def line(self, path: KeyPath) -> int:
        """Return the line of `path`, or of the nearest key above it that the file has."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, path: KeyPath, message: str) -> Problem:
        """Return a problem at `path`."""
        keys = path[1:] if path[:1] == ("attributes",) else path
        return Problem(self.file, self.line(path), keys, message)


def read_yaml(file: Path) -> list[YamlDocument]:
    """Return the documents of a YAML file; `SpecError` when it is no YAML."""
    shown = os.path.relpath(file)
    shown = str(file) if shown.startswith("..") else shown
    loader = _Loader(file.read_text(encoding="utf-8"))
    documents = []
    try:
        while loader.check_node() and (node := loader.get_node()) is not None:
            lines: dict[KeyPath, int] = {(): node.start_mark.line + 1}
            repeated: list[tuple[KeyPath, int, int]] = []
            _walk(node, (), lines, repeated, [])
            documents.append(YamlDocument(shown, loader.construct_document(node), lines, repeated))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecError([Problem(shown, line, (), f"no valid YAML: {error.problem}")]) from None
    except RecursionError:
        raise SpecError([Problem(shown, 1, (), "no valid YAML: nested too deeply")]) from None
    finally:
        loader.dispose()
    return documents


def _walk(
    node: yaml.Node,
    path: KeyPath,
    lines: dict[KeyPath, int],
    repeated: list[tuple[KeyPath, int, int]],
    above: list[yaml.Node],
) -> None:
    if any(node is ancestor for ancestor in above):
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, key.value)
            if here in lines and key.value != "<<":
                repeated.append((here, key.start_mark.line + 1, lines[here]))
                for below in [known for known in lines if known[: len(here)] == here]:
                    del lines[below]
            lines[here] = key.start_mark.line + 1
            _walk(value, here, lines, repeated, [*above, node])
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            lines[(*path, position)] = value.start_mark.line + 1
            _walk(value, (*path, position), lines, repeated, [*above, node])


def read_spec(attributes: Any, *, name: str, document: YamlDocument | None = None) -> DatasetSpec:
    """Return the specification that `attributes` declare.

    Parameters
    ----------
    attributes
        The mapping under `attributes:`.
    name
        Name of the dataset when `attributes` has none.
    document
        Where `attributes` were read, for file and line.

    Raises
    ------
    SpecError
        With every problem.
    """
    document = document or YamlDocument("", None, {(): 0}, ())
    if not isinstance(attributes, Mapping):
        raise SpecError([document.problem(("attributes",), "keys and values are required here")])
    problems = [
        Problem(document.file, line, path[1:], f"key is given twice, first on line {first}")
        for path, line, first in document.repeated
    ]
    named = {"name": name, **attributes}
    try:
        spec = DatasetSpec.model_validate(named)
    except ValidationError as error:
        problems += [document.problem(("attributes", *path), text) for path, text in explain(error, named)]
    if problems:
        raise SpecError(sorted(problems, key=lambda problem: problem.line))
    return spec


def load_specs(file: str | os.PathLike[str]) -> list[DatasetSpec]:
    """Return the datasets that one `defs.yaml` declares; their name is the folder's unless they give one.

    Raises
    ------
    SpecError
        When one of them is wrong.
    """
    return [spec for _, spec in _datasets(Path(file))]


def _datasets(file: Path) -> Iterator[tuple[YamlDocument, DatasetSpec]]:
    for document in read_yaml(file):
        if isinstance(document.value, Mapping) and document.value.get("type") == TYPE_NAME:
            yield (
                document,
                read_spec(document.value.get("attributes"), name=file.parent.name, document=document),
            )


def check_folder(folder: str | os.PathLike[str]) -> list[DatasetSpec]:
    """Read every `defs.yaml` below `folder`; `SpecError` with the problems of all of them.

    Two datasets of one name are a problem as well.
    """
    problems: list[Problem] = []
    specs: list[DatasetSpec] = []
    declared: dict[str, Problem] = {}
    for file in sorted(Path(folder).rglob("defs.yaml")):
        try:
            for document, spec in _datasets(file):
                here = document.problem(("attributes", "name"), f"dataset {spec.name!r}")
                first = declared.setdefault(spec.name, here)
                if first is not here:
                    message = f"{here.message} is declared already in {first.file}:{first.line}"
                    problems.append(Problem(here.file, here.line, here.path, message))
                specs.append(spec)
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    return specs
