"""The Azure template and its cloud-init, as far as they can be judged without Azure."""

from __future__ import annotations

import base64
import copy
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from arm_template import Template, problems
from rendered_chart import invalid, of_kind, render
from resolved_compose import ROOT, SERVERS, resolve

FOLDER = ROOT / "deploy" / "azure"
TREE = json.loads((FOLDER / "azuredeploy.json").read_text())
CLOUD_INIT = (FOLDER / "cloud-init.yaml").read_text()
GIVEN = {
    "sshPublicKey": "ssh-ed25519 AAAA",
    "source": "https://git.example.org/faceblur.git",
    "cloudInit": CLOUD_INIT,
}


def resource(template: Template, kind: str) -> dict[str, Any]:
    (found,) = (each for each in template.resources if each["type"].endswith(f"/{kind}"))
    return found


def user_data(template: Template) -> str:
    profile = resource(template, "virtualMachines")["properties"]["osProfile"]
    return base64.b64decode(profile["customData"]).decode()


@pytest.fixture(scope="module")
def template() -> Template:
    return Template(TREE, **GIVEN)


def test_azures_own_client_knows_every_member(template: Template) -> None:
    assert problems(template) == []


def _drop(name: str) -> Callable[[Any], None]:
    return lambda tree: tree["resources"][-1].pop(name)


def _put(*path: Any, to: Any) -> Callable[[Any], None]:
    def change(tree: Any) -> None:
        for key in path[:-1]:
            tree = tree[key]
        tree[path[-1]] = to

    return change


VM = ("resources", -1, "properties")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_put(*VM, "osProfile", "customDate", to=""), "osProfile.customDate does not exist"),
        (_put(*VM, "osProfile", "allowExtensionOperations", to="no"), "cannot be 'no'"),
        (_put(*VM, "securityProfile", "securityType", to="Trusted"), "cannot be 'Trusted'"),
        (_put(*VM, "vmId", to="1"), "vmId cannot be set"),
        (_put("resources", 0, "properties", "securityRules", 0, "properties", "access", to="Yes"),
         "access cannot be 'Yes'"),
        (_put("resources", -1, "apiVersion", to="2019-01-01"), "2019-01-01 is not"),
        (_put("variables", "nic", to="other"), None),
        (_drop("dependsOn"), "does not wait for /Microsoft.Network/networkInterfaces/"),
        (_put("resources", 4, "dependsOn", to=["[resourceId('Microsoft.Network/x', 'y')]"]),
         "waits for /Microsoft.Network/x/y"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_template_is_caught(
    change: Callable[[Any], None], problem: str | None
) -> None:
    tree = copy.deepcopy(TREE)
    change(tree)
    found = problems(Template(tree, **GIVEN))
    assert (found == []) if problem is None else (problem in "; ".join(found))


def test_a_reference_to_nothing_is_caught() -> None:
    tree = copy.deepcopy(TREE)
    tree["resources"][0]["name"] = "[variables('nothing')]"
    with pytest.raises(ValueError, match="'nothing'"):
        Template(tree, **GIVEN)
    with pytest.raises(ValueError, match="sshPublicKey has no value"):
        Template(TREE, source="", cloudInit="")


def test_nothing_can_be_reached_from_the_internet(template: Template) -> None:
    rules = resource(template, "networkSecurityGroups")["properties"]["securityRules"]
    inbound = [r["properties"] for r in rules if r["properties"]["direction"] == "Inbound"]
    opened = [r for r in inbound if r["access"] == "Allow"]
    assert [(r["destinationPortRange"], r["sourceAddressPrefix"]) for r in opened] == [
        ("22", "168.63.129.16")
    ]
    last = max(inbound, key=lambda rule: rule["priority"])
    assert (last["access"], last["sourceAddressPrefix"], last["protocol"]) == ("Deny", "*", "*")
    nic = resource(template, "networkInterfaces")["properties"]["ipConfigurations"]
    assert "publicIPAddress" not in json.dumps(nic)
    (subnet,) = resource(template, "virtualNetworks")["properties"]["subnets"]
    assert subnet["properties"]["defaultOutboundAccess"] is False
    assert {"networkSecurityGroup", "natGateway"} <= set(subnet["properties"])


def test_the_machine_has_no_rights_and_no_password(template: Template) -> None:
    machine = resource(template, "virtualMachines")
    assert "identity" not in machine
    profile = machine["properties"]["osProfile"]
    assert profile["linuxConfiguration"]["disablePasswordAuthentication"] is True
    assert "adminPassword" not in profile
    assert profile["allowExtensionOperations"] is False
    security = machine["properties"]["securityProfile"]
    assert security["uefiSettings"] == {"secureBootEnabled": True, "vTpmEnabled": True}
    secrets = [
        name for name, each in TREE["parameters"].items() if "secure" in each["type"].lower()
    ]
    assert secrets == []


AKS = json.loads((FOLDER / "aks.json").read_text())


@pytest.fixture(scope="module")
def cluster() -> Template:
    return Template(AKS)


def test_azures_own_client_knows_every_member_of_the_cluster(cluster: Template) -> None:
    assert problems(cluster) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_put("resources", 6, "properties", "oidcIssuer", to={}), "oidcIssuer does not exist"),
        (_put("resources", 5, "properties", "principal", to=""), "principal does not exist"),
        (_put("resources", 5, "properties", to={}), "roleDefinitionId is missing"),
        (_put("resources", 7, "properties", "minimumTlsVersion", to="TLS1_9"), "'TLS1_9'"),
        (_put("resources", 8, "properties", "publicAccess", to="Yes"), "cannot be 'Yes'"),
        (_put("resources", 7, "dependsOn", to=[]), "does not wait for"),
    ],
)  # fmt: skip
def test_a_broken_cluster_is_noticed(change: Callable[[Any], None], problem: str) -> None:
    tree = copy.deepcopy(AKS)
    change(tree)
    assert any(problem in each for each in problems(Template(tree)))


def test_no_key_opens_the_cluster_or_its_files(cluster: Template) -> None:
    properties = resource(cluster, "managedClusters")["properties"]
    assert properties["disableLocalAccounts"] is True
    assert properties["apiServerAccessProfile"] == {"enablePrivateCluster": True}
    assert properties["networkProfile"]["outboundType"] == "userAssignedNATGateway"
    account = resource(cluster, "storageAccounts")["properties"]
    assert account["allowSharedKeyAccess"] is account["allowBlobPublicAccess"] is False
    assert account["networkAcls"]["defaultAction"] == "Deny"
    rights = {
        (each["scope"].rpartition("/")[2], each["properties"]["roleDefinitionId"][-36:])
        for each in cluster.resources
        if each["type"].endswith("roleAssignments")
    }
    # Nobody may change what comes in.
    assert rights == {
        ("faceblur-network", AKS["variables"]["networkContributor"]),
        ("in", AKS["variables"]["blobReader"]),
        ("out", AKS["variables"]["blobContributor"]),
    }
    assert "secure" not in json.dumps(AKS["parameters"]).lower()


def test_the_chart_fits_the_cluster(cluster: Template) -> None:
    page = (FOLDER / "README.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    values = yaml.safe_load(text)
    manifests = render(values)
    assert list(invalid(manifests)) == []
    job = of_kind(manifests, "Job")["spec"]["template"]
    assert job["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    account = of_kind(manifests, "ServiceAccount", "archive")["metadata"]
    assert "azure.workload.identity/client-id" in account["annotations"]
    (credential,) = (r for r in cluster.resources if "federated" in r["type"])
    subject = credential["properties"]["subject"]
    # The release and the namespace of the tests, in place of the template's own.
    assert subject == "system:serviceaccount:faceblur:faceblur-archive"
    assert account["name"] == "fb-archive"
    names = [each["name"] for each in job["spec"]["containers"][0]["env"]]
    assert "AZURE_STORAGE_ACCOUNT_NAME" in names
    pools = resource(cluster, "managedClusters")["properties"]["agentPoolProfiles"]
    (gpu,) = (pool for pool in pools if "nodeTaints" in pool)
    triton = of_kind(manifests, "Deployment")["spec"]["template"]["spec"]
    assert triton["nodeSelector"].items() <= gpu["nodeLabels"].items()
    key, _, effect = gpu["nodeTaints"][0].partition(":")
    assert {"key": key.partition("=")[0], "operator": "Exists", "effect": effect} in triton[
        "tolerations"
    ]


def test_the_profiles_offered_are_composes(template: Template) -> None:
    for choice in TREE["parameters"]["profiles"]["allowedValues"]:
        assert len(set(choice.split(",")) & set(SERVERS)) == 1
        assert "triton" in resolve(*choice.split(","))


def judged(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """cloud-init's verdict."""
    if shutil.which("cloud-init") is None:
        pytest.skip("needs cloud-init: apt-get install cloud-init")
    path = folder / "cloud-init.yaml"
    path.write_text(text)
    return subprocess.run(
        ["cloud-init", "schema", "--config-file", path], capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip


def test_cloud_init_takes_what_the_machine_gets(template: Template, tmp_path: Path) -> None:
    text = user_data(template)
    assert re.findall("@[A-Z]+@", CLOUD_INIT)
    assert re.findall("@[A-Z]+@", text) == []
    done = judged(text, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("ours", "broken"),
    [('permissions: "0700"', "permissions: 0700"), ("mode: reboot", "mode: again")],
)
def test_cloud_init_is_heard(tmp_path: Path, ours: str, broken: str) -> None:
    assert ours in CLOUD_INIT
    assert judged(CLOUD_INIT.replace(ours, broken), tmp_path).returncode != 0


def test_the_machine_ends_with_compose_up(template: Template, tmp_path: Path) -> None:
    tree = yaml.safe_load(user_data(template))
    files = {each["path"]: each for each in tree["write_files"]}
    script = files[tree["runcmd"][0][0]]
    assert script["permissions"] == "0700"
    subprocess.run(["sh", "-n"], input=script["content"], text=True, check=True, timeout=60)
    assert f'--branch "main" -- "{GIVEN["source"]}" /opt/faceblur' in script["content"]
    assert "systemctl enable faceblur.service" in script["content"]
    assert tree["power_state"]["mode"] == "reboot"
    unit = files["/etc/systemd/system/faceblur.service"]["content"]
    assert "ExecStart=/usr/bin/docker compose up" in unit
    settings = files["/etc/faceblur/environment"]["content"]
    names = [line.partition("=")[0] for line in settings.splitlines()]
    # What Compose itself reads from .env, and this overrides.
    ours = [line.partition("=")[0] for line in (ROOT / ".env").read_text().splitlines()]
    assert set(names) <= set(ours)


def test_systemd_takes_the_unit(template: Template, tmp_path: Path) -> None:
    command = shutil.which("systemd-analyze")
    if command is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    files = {f["path"]: f["content"] for f in yaml.safe_load(user_data(template))["write_files"]}
    # The programs and units of another machine are not here.
    unit = files["/etc/systemd/system/faceblur.service"]
    unit = unit.replace("/usr/bin/docker", "/bin/true").replace("Requires=docker.service\n", "")

    def complaints(text: str) -> str:
        path = tmp_path / "faceblur.service"
        path.write_text(text)
        done = subprocess.run(
            [command, "verify", "--man=no", path], capture_output=True, text=True, check=False,
            timeout=60,
        )  # fmt: skip
        return "".join(line for line in done.stderr.splitlines(True) if "faceblur" in line)

    assert complaints(unit) == ""
    assert "restart specifier" in complaints(unit.replace("Restart=on-failure", "Restart=maybe"))
