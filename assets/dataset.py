"""MongoDataset, the Dagster component: one YAML file becomes one asset graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster.components.scaffold.scaffold import ScaffoldRequest
from pydantic import BaseModel, RootModel

from assets.beta import beta_allowed
from assets.checks import source_check
from assets.documents import documents_asset, source_asset
from assets.images import images_asset
from assets.jobs import jobs
from assets.records import records_asset
from assets.resources import resources
from assets.schedules import schedules
from assets.sensors import sensors
from assets.snapshot import snapshot_asset
from assets.spec import DatasetSpec
from assets.spec.load import read_spec, read_yaml

TEMPLATE = Path(__file__).with_name("scaffold.yaml")


class Attributes(RootModel[Any]):
    """What stands under `attributes:`, validated by `assets.spec` with file, line and what is allowed.

    The JSON schema describes every key for editors and documentation and refuses nothing by itself: messages
    of a schema with sixteen kinds of columns name none of them.
    """

    @classmethod
    def model_json_schema(cls, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Return the schema of `DatasetSpec`, as one that also lets everything else pass."""
        schema = DatasetSpec.model_json_schema()
        definitions = schema.pop("$defs")
        schema["required"] = [key for key in schema["required"] if key != "name"]
        return {
            "$defs": {**definitions, "DatasetSpec": schema},
            "anyOf": [{"$ref": "#/$defs/DatasetSpec"}, {}],
        }


class DatasetScaffolder(dg.Scaffolder[Any]):
    """Writes a commented `defs.yaml` to fill in."""

    def scaffold(self, request: ScaffoldRequest[Any]) -> None:
        """Write the file."""
        if request.scaffold_format != "yaml":
            raise ValueError("a dataset is declared in YAML; leave out --format python")
        text = TEMPLATE.read_text(encoding="utf-8").replace("DATASET", request.target_path.name)
        (request.target_path / "defs.yaml").write_text(text, encoding="utf-8")


@dg.scaffold_with(DatasetScaffolder)
@dataclass
class MongoDataset(dg.Component):
    """A MongoDB collection as training data.

    One YAML file gives the assets `source` (the collection, observed), `documents` (the selected fields of
    each partition), `images` and `records` (one column file per declared column) and `snapshot` (splits,
    statistics, vocabularies: what training reads), with their checks, jobs, schedules, sensors and
    automation.

    Declare where documents come from (`source`), how they are cut (`partitions`), what is taken from them
    (`columns`) and how rows are divided (`splits`); everything else has a default. `dg scaffold defs
    assets.MongoDataset NAME` writes a commented file to fill in, `dg check defs` refuses a wrong one.
    """

    spec: DatasetSpec

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return what Dagster lists of the component."""
        return dg.ComponentTypeSpec(
            tags=["mongodb", "training data"],
            produces=["asset", "asset_check", "job", "resource", "schedule", "sensor"],
        )

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return the model of the YAML's `attributes`."""
        return Attributes

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> MongoDataset:
        """Return the component that a YAML document declares.

        Raises
        ------
        assets.spec.errors.SpecError
            With file, line and what is allowed.
        """
        given: Mapping[str, Any] = attributes.root if isinstance(attributes, Attributes) else {}
        file = context.path / "defs.yaml" if context.path.is_dir() else context.path
        if not file.is_file():
            return cls(read_spec(given, name=context.path.stem))
        matching = [d for d in read_yaml(file) if d.value.get("attributes") == given]
        return cls(read_spec(given, name=file.parent.name, document=matching[0] if matching else None))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the asset graph with its jobs, schedule, sensors and resources."""
        return definitions_of(self.spec)


def definitions_of(spec: DatasetSpec) -> dg.Definitions:
    """Return everything that Dagster runs for one dataset."""
    with beta_allowed():
        assets: list[Any] = [source_asset(spec), documents_asset(spec)]
        assets += [images_asset(spec)] if spec.image_columns else []
        assets += [records_asset(spec)] if spec.record_columns else []
        check = source_check(spec)
        return dg.Definitions(
            assets=[*assets, snapshot_asset(spec)],
            asset_checks=[check] if check else [],
            jobs=jobs(spec),
            schedules=schedules(spec),
            sensors=sensors(spec),
            resources=resources(spec),
        )
