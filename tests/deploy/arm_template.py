"""An Azure template resolved as Azure does it, and judged by the models of Azure's own client."""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import re
import uuid
from collections.abc import Iterator
from enum import Enum
from typing import Any

from azure.mgmt.authorization.v2022_04_01 import models as authorization
from azure.mgmt.authorization.v2022_04_01.operations import (
    _role_assignments_operations as role_calls,
)
from azure.mgmt.compute import models as compute
from azure.mgmt.compute.operations import _operations as compute_calls
from azure.mgmt.containerservice import models as containers
from azure.mgmt.containerservice.operations import _operations as container_calls
from azure.mgmt.msi.v2024_11_30 import models as identities
from azure.mgmt.msi.v2024_11_30.operations import (
    _federated_identity_credentials_operations as credential_calls,
)
from azure.mgmt.msi.v2024_11_30.operations import (
    _user_assigned_identities_operations as identity_calls,
)
from azure.mgmt.network import models as network
from azure.mgmt.network.operations import _operations as network_calls
from azure.mgmt.storage import models as storage
from azure.mgmt.storage.operations import _operations as storage_calls

MODELS = {
    "Microsoft.Authorization/roleAssignments": (
        authorization.RoleAssignmentCreateParameters,
        role_calls.build_create_request,
    ),
    "Microsoft.ContainerService/managedClusters": (
        containers.ManagedCluster,
        container_calls.build_managed_clusters_create_or_update_request,
    ),
    "Microsoft.ManagedIdentity/userAssignedIdentities": (
        identities.Identity,
        identity_calls.build_create_or_update_request,
    ),
    "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials": (
        identities.FederatedIdentityCredential,
        credential_calls.build_create_or_update_request,
    ),
    "Microsoft.Storage/storageAccounts": (
        storage.StorageAccountCreateParameters,
        storage_calls.build_storage_accounts_create_request,
    ),
    "Microsoft.Storage/storageAccounts/blobServices/containers": (
        storage.BlobContainer,
        storage_calls.build_blob_containers_create_request,
    ),
    "Microsoft.Compute/virtualMachines": (
        compute.VirtualMachine,
        compute_calls.build_virtual_machines_create_or_update_request,
    ),
    "Microsoft.Network/bastionHosts": (
        network.BastionHost,
        network_calls.build_bastion_hosts_create_or_update_request,
    ),
    "Microsoft.Network/natGateways": (
        network.NatGateway,
        network_calls.build_nat_gateways_create_or_update_request,
    ),
    "Microsoft.Network/networkInterfaces": (
        network.NetworkInterface,
        network_calls.build_network_interfaces_create_or_update_request,
    ),
    "Microsoft.Network/networkSecurityGroups": (
        network.NetworkSecurityGroup,
        network_calls.build_network_security_groups_create_or_update_request,
    ),
    "Microsoft.Network/publicIPAddresses": (
        network.PublicIPAddress,
        network_calls.build_public_ip_addresses_create_or_update_request,
    ),
    "Microsoft.Network/virtualNetworks": (
        network.VirtualNetwork,
        network_calls.build_virtual_networks_create_or_update_request,
    ),
}
ENVELOPE = {"type", "apiVersion", "dependsOn", "condition", "scope"}
"""Members of a resource that are the template's, not the resource's."""

OPEN_ENUMS = {"properties.hardwareProfile.vmSize"}
"""Azure takes more values here than its client lists."""

_TOKEN = re.compile(r"\s*(?:'((?:[^']|'')*)'|([A-Za-z]\w*)|(\d+)|([(),.\[\]]))")


class Template:
    """A template with values for its parameters.

    Raises:
        ValueError: It refers to something that is not there.
    """

    def __init__(self, tree: dict[str, Any], **given: Any) -> None:
        self._tree = tree
        self._parameters: dict[str, Any] = {}
        for name, declared in tree["parameters"].items():
            value = given.pop(name, declared.get("defaultValue"))
            if value is None:
                raise ValueError(f"parameter {name} has no value")
            self._parameters[name] = self.resolve(value)
        if given:
            raise ValueError(f"there are no parameters {sorted(given)}")
        self.resources: list[dict[str, Any]] = [self.resolve(r) for r in tree["resources"]]

    def resolve(self, value: Any) -> Any:
        """A value with its expressions replaced by what they stand for."""
        if isinstance(value, dict):
            return {self.resolve(key): self.resolve(member) for key, member in value.items()}
        if isinstance(value, list):
            return [self.resolve(member) for member in value]
        if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
            return _Expression(value[1:-1], self).value()
        return value

    def call(self, name: str, arguments: list[Any]) -> Any:
        """One of the functions that our template uses."""
        if name == "parameters" and arguments[0] in self._parameters:
            return self._parameters[arguments[0]]
        if name == "variables" and arguments[0] in self._tree["variables"]:
            return self.resolve(self._tree["variables"][arguments[0]])
        if name == "resourceGroup":
            return {"location": "westeurope", "id": "/group"}
        if name in ("guid", "uniqueString"):
            # Thirteen letters and digits, and as many with dashes, to Azure.
            digest = hashlib.sha256("\0".join(arguments).encode()).hexdigest()
            return str(uuid.UUID(digest[:32])) if name == "guid" else digest[:13]
        if name == "reference":
            return _Reference(arguments[0])
        if name == "subscriptionResourceId":
            return f"/{arguments[0]}/{arguments[1]}"
        if name == "extensionResourceId":
            scope, kind, *names = arguments
            return scope + self.call("resourceId", [kind, *names])
        if name == "concat":
            return "".join(arguments)
        if name == "replace":
            text, old, new = arguments
            return text.replace(old, new)
        if name == "base64":
            return base64.b64encode(arguments[0].encode()).decode()
        if name == "resourceId":
            kind, *names = arguments
            provider, *kinds = kind.split("/")
            parts = [f"{k}/{n}" for k, n in zip(kinds, names, strict=True)]
            return f"/{provider}/{'/'.join(parts)}"
        raise ValueError(f"{name}({', '.join(map(repr, arguments))}) stands for nothing")


class _Reference(str):
    """What is known of a resource once it is there."""

    def __getitem__(self, name: Any) -> Any:
        return _Reference(f"{self}.{name}")


class _Expression:
    def __init__(self, text: str, template: Template) -> None:
        self._tokens = list(self._split(text))
        self._template = template

    @staticmethod
    def _split(text: str) -> Iterator[tuple[str, str]]:
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise ValueError(f"cannot read {text[position:]!r}")
            position = match.end()
            kind = ("text", "name", "number", "sign")[match.lastindex - 1]  # type: ignore[operator]
            yield kind, match[match.lastindex]  # type: ignore[index]

    def value(self) -> Any:
        found = self._one()
        if self._tokens:
            raise ValueError(f"there is more after the expression: {self._tokens}")
        return found

    def _one(self) -> Any:
        kind, text = self._tokens.pop(0)
        if kind == "text":
            return text.replace("''", "'")
        if kind == "number":
            return int(text)
        arguments = []
        self._expect("(")
        while self._tokens[0][1] != ")":
            arguments.append(self._one())
            if self._tokens[0][1] == ",":
                self._expect(",")
        self._expect(")")
        found = self._template.call(text, arguments)
        while self._tokens and self._tokens[0][1] == ".":
            self._expect(".")
            found = found[self._tokens.pop(0)[1]]
        return found

    def _expect(self, sign: str) -> None:
        if self._tokens.pop(0) != ("sign", sign):
            raise ValueError(f"{sign} is missing")


def problems(template: Template) -> list[str]:
    """What Azure's own client does not know of the resources of a template."""
    found = []
    names = [_identity(resource) for resource in template.resources]
    for resource in template.resources:
        kind = resource["type"]
        if kind not in MODELS:
            found.append(f"{kind} is unknown")
            continue
        model, request = MODELS[kind]
        known = _version(request)
        if resource["apiVersion"] != known:
            found.append(f"{kind}: {resource['apiVersion']} is not {known}")
        body = {key: value for key, value in resource.items() if key not in ENVELOPE}
        if hasattr(model, "_attribute_map"):
            found += [f"{kind}: {text}" for text in _unmapped(model, body)]
        else:
            found += [f"{kind}: {text}" for text in _unknown(model(body), body, "")]
        found += [f"{kind} waits for {n}" for n in resource.get("dependsOn", []) if n not in names]
        for link in re.findall(r'"id": "([^"]+)"', json.dumps(body)):
            whole = re.sub(r"/subnets/.*", "", link)
            if whole not in names:
                found.append(f"{kind} refers to {link}")
            elif whole not in resource.get("dependsOn", []):
                found.append(f"{kind} does not wait for {whole}")
    return found


def _identity(resource: dict[str, Any]) -> str:
    provider, *kinds = resource["type"].split("/")
    parts = [f"{k}/{n}" for k, n in zip(kinds, resource["name"].split("/"), strict=True)]
    return f"{resource.get('scope', '')}/{provider}/{'/'.join(parts)}"


def _version(request: Any) -> str:
    names = [n for n in request.__annotations__ if n not in ("return", "kwargs")]
    url = request(**dict.fromkeys(names, "x")).url
    match = re.search(r"api-version=([\w-]+)", url)
    assert match is not None
    return match[1]


def _unmapped(model: Any, body: dict[str, Any]) -> Iterator[str]:
    """As `_unknown`, of the clients that Azure made before."""
    known = {each["key"] for each in model._attribute_map.values()}
    # The name is in the address of the request.
    flat = {key: value for key, value in body.items() if key not in ("properties", "name")}
    flat |= {f"properties.{key}": value for key, value in body.get("properties", {}).items()}
    yield from (f"{key} does not exist" for key in flat if key not in known)
    for name, rule in model._validation.items():
        key = model._attribute_map[name]["key"]
        if rule.get("readonly") and key in flat:
            yield f"{key} cannot be set"
        if rule.get("required") and key not in flat:
            yield f"{key} is missing"


def _unknown(model: Any, body: dict[str, Any], path: str) -> Iterator[str]:
    attributes = {field._rest_name: name for name, field in model._attr_to_rest_field.items()}
    for key, value in body.items():
        here = f"{path}.{key}".lstrip(".")
        if key not in attributes:
            # The name is in the address of the request, and not always in its body too.
            if here != "name":
                yield f"{here} does not exist"
            continue
        if model._attr_to_rest_field[attributes[key]]._visibility == ["read"] and here != "name":
            yield f"{here} cannot be set"
        read, declared = getattr(model, attributes[key]), _annotation(model, attributes[key])
        if "Union[str" in declared and not isinstance(read, Enum) and here not in OPEN_ENUMS:
            yield f"{here} cannot be {value!r}"
        if declared in ("str", "bool", "int") and type(value).__name__ != declared:
            yield f"{here} cannot be {value!r}"
        if isinstance(value, dict) and hasattr(read, "_attr_to_rest_field"):
            yield from _unknown(read, value, here)
        if isinstance(value, list) and value and hasattr(read[0], "_attr_to_rest_field"):
            for each, member in zip(read, value, strict=True):
                yield from _unknown(each, member, here)


def _annotation(model: Any, attribute: str) -> str:
    for base in type(model).__mro__:
        declared = inspect.get_annotations(base)
        if attribute in declared:
            text = str(declared[attribute])
            return re.sub(r"^(?:typing\.)?Optional\[(.*)\]$", r"\1", text)
    return ""
