"""Files for containers and Kubernetes: parsed by other projects' parsers, and checked against what they name."""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from dockerfile_parse import DockerfileParser  # type: ignore[import-untyped]
from ray.serve.schema import ServeDeploySchema

from tests.support.service import ROOT
from whisper_serve.app import build
from whisper_serve.config.load import load_config

DEPLOY = ROOT / "deploy"
HOME = "/home/ray/whisper_serve/"  # the repository's place in the image
CRD = os.environ.get(
    "KUBERAY_CRD"
)  # helm-chart/kuberay-operator/crds/ray.io_rayservices.yaml of ray-project/kuberay


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kuberay/rayservice.yaml").read_text()))


def rayservice() -> dict[str, Any]:
    return manifests()[0]


def only(**fields: Any) -> dict[str, Any]:
    """An object with these fields and no others."""
    return {"type": "object", "properties": fields, "additionalProperties": False}


TEXT, NUMBER, SWITCH, ANY = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}, {"type": "object"}
POD = {**only(metadata=ANY, spec=ANY), "required": ["spec"]}
START = {"type": "object", "additionalProperties": TEXT}
GROUP = {
    **only(
        groupName=TEXT,
        replicas=NUMBER,
        minReplicas=NUMBER,
        maxReplicas=NUMBER,
        rayStartParams=START,
        template=POD,
    ),
    "required": ["groupName", "template"],
}
# The fields of KubeRay's reference, v1.6, that our file uses, with their types.
RAYSERVICE = only(
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayService"},
    metadata=only(name=TEXT),
    spec=only(
        upgradeStrategy=only(type={"enum": ["None", "NewCluster", "NewClusterWithIncrementalUpgrade"]}),
        rayClusterDeletionDelaySeconds=NUMBER,
        serveConfigV2=TEXT,
        rayClusterConfig={
            **only(
                rayVersion=TEXT,
                authOptions=only(mode={"enum": ["disabled", "token"]}),
                enableInTreeAutoscaling=SWITCH,
                autoscalerOptions=only(version={"enum": ["v1", "v2"]}, idleTimeoutSeconds=NUMBER),
                gcsFaultToleranceOptions=only(
                    redisAddress=TEXT, redisPassword=only(value=TEXT, valueFrom=ANY)
                ),
                headGroupSpec={**only(rayStartParams=START, template=POD), "required": ["template"]},
                workerGroupSpecs={"type": "array", "items": GROUP},
            ),
            "required": ["headGroupSpec"],
        },
    ),
)


def test_the_rayservice_has_only_fields_that_kuberay_knows() -> None:
    jsonschema.validate(rayservice(), RAYSERVICE)
    wrong = copy.deepcopy(rayservice())
    wrong["spec"]["rayClusterConfig"]["enableInTreeAutoscalling"] = True
    with pytest.raises(jsonschema.ValidationError, match="Autoscalling"):
        jsonschema.validate(wrong, RAYSERVICE)


@pytest.mark.skipif(not CRD, reason="KUBERAY_CRD names no file of KubeRay's own schema")
def test_the_rayservice_is_valid_by_kuberay_s_own_schema() -> None:
    versions = yaml.safe_load(Path(str(CRD)).read_text())["spec"]["versions"]
    (schema,) = [version["schema"]["openAPIV3Schema"] for version in versions if version["name"] == "v1"]
    jsonschema.validate(rayservice(), closed(schema))


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The same, refusing fields that it does not name, as the API server's strict mode does."""
    schema = {name: closed(part) if isinstance(part, dict) else part for name, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        schema.setdefault("additionalProperties", False)
    return schema


def test_the_rayservice_s_application_is_valid_and_can_be_built() -> None:
    schema = ServeDeploySchema.model_validate(yaml.safe_load(rayservice()["spec"]["serveConfigV2"]))
    (application,) = schema.applications
    assert application.import_path == f"{build.__module__}:{build.__name__}"
    config = application.args["config"].removeprefix(HOME)
    bound = build({"config": str(ROOT / config)})
    assert bound._bound_deployment.name == "Ingress"


def test_the_rayservice_s_pods_have_the_resources_that_the_config_needs() -> None:
    config = load_config(DEPLOY / "kuberay/config.json")
    groups = {
        group["groupName"]: group for group in rayservice()["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    }
    limits = groups["gpu"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    a_pod = int(int(limits["nvidia.com/gpu"]) / config.deployment.gpu_per_replica)
    assert a_pod * config.deployment.cpu_per_replica <= int(limits["cpu"])
    assert groups["gpu"]["minReplicas"] * a_pod >= config.deployment.fewest
    assert groups["gpu"]["maxReplicas"] * a_pod >= config.deployment.most
    assert groups["ingress"]["minReplicas"] >= config.server.num_ingress


def test_the_image_has_the_ray_that_the_rayservice_names() -> None:
    version = rayservice()["spec"]["rayClusterConfig"]["rayVersion"]
    assert f"ray[serve]=={version}" in (ROOT / "requirements.txt").read_text().splitlines()


def instructions() -> list[dict[str, Any]]:
    parser = DockerfileParser(path=str(DEPLOY / "Dockerfile"), env_replace=False)
    return [step for step in parser.structure if step["instruction"] != "COMMENT"]


def test_the_image_runs_as_a_user_who_is_not_root_and_copies_what_is_there() -> None:
    steps = instructions()
    users = [step["value"] for step in steps if step["instruction"] == "USER"]
    assert users[-1] == "1000"
    after = steps.index(next(step for step in steps if step["instruction"] == "USER"))
    assert all("apt-get" not in step["value"] for step in steps[after:])
    for step in steps:
        if step["instruction"] == "COPY":
            *sources, _ = [word for word in step["value"].split() if not word.startswith("--")]
            assert all((ROOT / source).exists() for source in sources)


def test_every_device_of_the_image_has_its_packages() -> None:
    steps = [step["value"] for step in instructions() if step["instruction"] == "FROM"]
    assert {step.split(" AS ")[1] for step in steps} == {"base", "packages-cpu", "packages-cuda", "service"}
    assert steps[-1] == "packages-${DEVICE} AS service"


def test_the_image_s_own_command_finds_weights() -> None:
    (step,) = [
        step["value"]
        for step in instructions()
        if "WEIGHTS" in step["value"] and step["instruction"] == "RUN"
    ]
    command = step.replace("/models", str(ROOT / "models")).replace("python ", f"{sys.executable} ", 1)
    for weights in ("", "base"):
        env = os.environ | {"WEIGHTS": weights}
        done = subprocess.run(["sh", "-c", command], cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_image_has_all_files_that_serving_needs() -> None:
    kept = [
        line[1:]
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for name in kept:
        assert list(ROOT.glob(name)), name
    needed = {"whisper_serve", "main.py", "config.json", "setup.py", "pyproject.toml", "LICENSE", "NOTICE"}
    assert needed | set(re.findall(r'pins\("(.+?)"\)', (ROOT / "setup.py").read_text())) <= {*kept}


def test_the_composed_services_find_their_files_and_each_other() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists(), source
    assert (DEPLOY / services["whisper"]["build"]["context"] / "setup.py").exists()
    assert services["prometheus"]["network_mode"] == services["grafana"]["network_mode"] == "service:whisper"
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    assert scraped[0]["static_configs"][0]["targets"] == ["localhost:8000"]
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://localhost:9090"


@pytest.mark.parametrize(
    "path", sorted(DEPLOY.rglob("*.json")), ids=lambda path: str(path.relative_to(DEPLOY))
)
def test_every_json_file_is_json(path: Path) -> None:
    assert json.loads(path.read_text())
