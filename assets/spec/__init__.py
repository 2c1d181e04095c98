"""The dataset specification: pydantic models of `defs.yaml`, usable without Dagster."""

from assets.spec.dataset import DatasetSpec

__all__ = ["DatasetSpec"]
