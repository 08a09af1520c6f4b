"""Compose's and Kubernetes' files against the code: every variable, command and figure in them."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from fraud.cli import app
from fraud.ledger.cluster import CONFIGURATION
from fraud.security.data_keys import DataKeys
from fraud.security.secret_files import generated_secret, public_key
from fraud.settings import Settings
from tests.golang import go

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "kubernetes" / "base"
OURS = "fraud-platform/"
KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1"
REQUIRED = {
    *("POSTGRES_PASSWORD", "FRAUD_API_PASSWORD", "FRAUD_JWT_SECRET"),
    *("MONGODB_PASSWORD", "GRAFANA_PASSWORD"),
}
"""What compose.yaml has no default for."""


def variables() -> set[str]:
    """The environment variables that `fraud.settings` reads."""
    known = {f"FRAUD_{name.upper()}" for name in Settings.model_fields}
    return known - {"FRAUD_DATABASE_URL", "FRAUD_JWT_SECRET_GIVEN"} | {
        *("DATABASE_URL", "FRAUD_JWT_SECRET")
    }


def is_command(words: list[str]) -> bool:
    """Whether `fraud WORDS` is a command, with options it has."""
    found: Any = typer.main.get_command(app)
    options = [word for word in words if word.startswith("--")]
    for word in words[: words.index(options[0])] if options else words:
        found = getattr(found, "commands", {}).get(word)
    if found is None or (hasattr(found, "commands") and not found.invoke_without_command):
        return False
    return set(options) <= {name for each in found.params for name in each.opts}


@cache
def compose() -> dict[str, Any]:
    """compose.yaml as Compose's own loader understands it."""
    given = {**os.environ, **dict.fromkeys(REQUIRED, "given-by-this-test-alone")}
    done = subprocess.run(
        [go(), "run", ".", str(DEPLOY / "compose.yaml")],
        cwd=DEPLOY / "composecheck",
        env=given,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def manifests() -> Iterator[dict[str, Any]]:
    for path in sorted(BASE.glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text())


def manifest(kind: str, name: str) -> dict[str, Any]:
    [found] = [
        each
        for each in manifests()
        if (each["kind"], each.get("metadata", {}).get("name")) == (kind, name)
    ]
    return found


def pod_specs() -> Iterator[tuple[str, dict[str, Any]]]:
    for each in manifests():
        if each["kind"] in ("Deployment", "Job"):
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


# --- compose -----------------------------------------------------------------------------------


def test_compose_has_no_default_password() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    defaults = re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|TOKEN|KEY)\w*):?-", text)
    assert defaults == []
    assert set(re.findall(r"\$\{(\w+):\?run", text)) == {
        *("POSTGRES_PASSWORD", "FRAUD_API_PASSWORD", "FRAUD_JWT_SECRET")
    }
    made = re.search(r"for name in ([\w ]+); do", (DEPLOY / "make-secrets.sh").read_text())
    assert made is not None
    assert set(made[1].split()) == REQUIRED


@pytest.mark.skipif(os.geteuid() != 0, reason="it gives keys to another user, as only root can")
def test_secrets_are_made_once_and_can_be_used(tmp_path: Path) -> None:
    script = shutil.copy(DEPLOY / "make-secrets.sh", tmp_path)
    made = []
    for _ in range(2):
        subprocess.run([script], check=True, capture_output=True, timeout=60)
        files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
        made.append({path.name: path.read_text() for path in files})
    assert made[0] == made[1]
    assert set(re.findall(r"^(\w+)=[0-9a-f]{64}$", made[0][".env"], re.MULTILINE)) == REQUIRED
    secrets = tmp_path / "secrets"
    keys = DataKeys(secrets / "data-keys", makes_first=False)
    assert keys.decrypt(keys.encrypt(b"4711")) == b"4711"
    assert len(generated_secret(secrets / "look-up-key")) == 64
    verify_key = (secrets / "verify-key.pem").read_bytes()
    assert public_key((secrets / "signing-key.pem").read_bytes(), "the key") == verify_key
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (secrets / "data-keys").iterdir()}
    assert modes == {0o400}


def test_compose_names_known_variables_and_commands() -> None:
    for name, service in compose()["services"].items():
        environment = service.get("environment") or {}
        if service["image"].startswith(OURS):
            unknown = {each for each in environment if each.startswith("FRAUD_")} - variables()
            assert unknown == set(), name
        command = service.get("command") or []
        if command[:1] == ["fraud"]:
            assert is_command(command[1:]), command


def test_compose_runs_everything_with_limits_checks_and_no_privileges() -> None:
    services = compose()["services"]
    assert set(services) >= {
        *("postgres", "mongodb", "kafka", "api", "stream", "relay", "mlflow"),
        *("dagster-code", "dagster-webserver", "dagster-daemon"),
        *("prometheus", "alertmanager", "grafana"),
    }
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["deploy"]["resources"]["limits"]["memory"], name
        assert not service.get("privileged"), name
        ends = service["restart"] == "on-failure"
        assert service["restart"] in ("unless-stopped", "on-failure"), name
        check = service.get("healthcheck") or {}
        is_ours = service["image"].startswith(OURS)  # the Dockerfile brings a check
        assert ends or is_ours or check.get("test"), name
        assert service.get("read_only") or name == "kafka", name


def test_the_boards_find_the_prometheus_of_compose() -> None:
    [source] = yaml.safe_load((DEPLOY / "grafana" / "datasource.yml").read_text())["datasources"]
    boards = list((ROOT / "dashboards" / "grafana" / "boards").glob("*.json"))
    assert boards
    assert all(f'"uid": "{source["uid"]}"' in board.read_text() for board in boards)


def test_postgresql_is_tuned_as_the_embedded_one_is() -> None:
    _, *options = compose()["services"]["postgres"]["command"]
    settings = {name: value for name, _, value in (each[2:].partition("=") for each in options)}
    del settings["password_encryption"]  # the embedded server has no passwords
    embedded = dict(re.findall(r"^(\w+) = (.*)$", CONFIGURATION, re.MULTILINE))
    assert settings.items() <= embedded.items()


def test_compose_publishes_nothing_to_the_world_unless_told() -> None:
    published = {
        name: [each["host_ip"] for each in service.get("ports", [])]
        for name, service in compose()["services"].items()
    }
    assert {host for hosts in published.values() for host in hosts} == {"127.0.0.1"}
    for name in ("postgres", "mongodb", "kafka"):
        assert published[name] == []
        assert list(compose()["services"][name]["networks"]) == ["inside"]


def test_compose_waits_for_migrations_before_it_serves() -> None:
    for name in ("api", "stream", "relay", "dagster-code"):
        waits = compose()["services"][name]["depends_on"]
        assert waits["migrate"]["condition"] == "service_completed_successfully"


def test_what_compose_mounts_is_there() -> None:
    made = {DEPLOY / "secrets"}
    for service in compose()["services"].values():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                source = Path(volume["source"])
                assert source.exists() or made & {source, *source.parents}, source


def test_prometheus_scrapes_services_of_compose() -> None:
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    targets = [
        target
        for job in scraped["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
    ]
    assert {target.partition(":")[0] for target in targets} <= set(compose()["services"])


# --- images ------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", ["serve", "train"])
def test_images_name_known_variables(image: str) -> None:
    text = (DEPLOY / f"{image}.Dockerfile").read_text()
    assert set(re.findall(r"\b(FRAUD_[A-Z_]+)=", text)) <= variables()


# --- Kubernetes --------------------------------------------------------------------------------


def test_kubernetes_keeps_the_integration_guides_figures() -> None:
    deployment = manifest("Deployment", "fraud-detection-api")["spec"]
    assert deployment["replicas"] == 3
    [container] = deployment["template"]["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"memory": "512Mi", "cpu": "250m"},
        "limits": {"memory": "1Gi", "cpu": "500m"},
    }
    health = {"path": "/health", "port": 8000}
    for probe, delay, period in (("livenessProbe", 30, 10), ("readinessProbe", 5, 5)):
        assert container[probe]["httpGet"] == health
        assert container[probe]["initialDelaySeconds"] == delay
        assert container[probe]["periodSeconds"] == period
    url = next(each for each in container["env"] if each["name"] == "DATABASE_URL")
    assert url["valueFrom"]["secretKeyRef"] == {
        "name": "fraud-detection-secrets",
        "key": "database-url",
    }
    service = manifest("Service", "fraud-detection-service")["spec"]
    assert [(each["port"], each["targetPort"]) for each in service["ports"]] == [(80, 8000)]
    assert service["selector"] == {"app": "fraud-detection-api"}


def test_kubernetes_names_known_variables_and_commands() -> None:
    settings = manifest("ConfigMap", "fraud-detection-settings")["data"]
    assert set(settings) <= variables()
    for name, spec in pod_specs():
        for container in spec["containers"]:
            given = {each["name"] for each in container.get("env", [])}
            assert given <= variables(), name
            command = container.get("command")
            assert command is None or (command[0] == "fraud" and is_command(command[1:])), name


def test_pods_have_no_privileges_and_no_written_secret() -> None:
    for name, spec in pod_specs():
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert all("value" not in each for each in container["env"]), name
            assert {"requests", "limits"} == set(container["resources"]), name
    assert "Secret" not in {each["kind"] for each in manifests()}


def test_every_pod_has_a_network_policy_and_the_api_a_budget() -> None:
    policies = {
        each["spec"]["podSelector"]["matchLabels"]["app"]
        for each in manifests()
        if each["kind"] == "NetworkPolicy"
    }
    assert policies == {name for name, _ in pod_specs()}
    budget = manifest("PodDisruptionBudget", "fraud-detection-api")["spec"]
    scaler = manifest("HorizontalPodAutoscaler", "fraud-detection-api")["spec"]
    assert budget["minAvailable"] < scaler["minReplicas"] == 3


def test_the_kustomization_lists_every_file() -> None:
    [kustomization] = [each for each in manifests() if each["kind"] == "Kustomization"]
    files = {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files


def validated(text: str, path: Path) -> subprocess.CompletedProcess[str]:
    path.write_text(text)
    tool = Path(sys.executable).with_name("kubernetes-validate")
    command = [str(tool), "--strict", "--kubernetes-version", "1.33", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_overlay_builds_valid_manifests(tmp_path: Path) -> None:
    built = subprocess.run(
        [go(), "run", KUSTOMIZE, "build", str(DEPLOY / "kubernetes" / "overlays" / "example")],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    done = validated(built.stdout, tmp_path / "built.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    images = set(re.findall(r"image: (\S+)", built.stdout))
    assert images == {"registry.example.com/fraud-platform/serve:0.1.0"}


def test_a_field_kubernetes_does_not_know_is_refused(tmp_path: Path) -> None:
    """The check in `make check` can fail."""
    broken = manifest("Deployment", "fraud-detection-api")
    broken["spec"]["template"]["spec"]["replicaz"] = 3
    done = validated(yaml.safe_dump(broken), tmp_path / "broken.yaml")
    assert done.returncode != 0
    assert "replicaz" in done.stdout + done.stderr
