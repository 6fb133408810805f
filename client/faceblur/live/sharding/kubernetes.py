"""Leases kept by Kubernetes, through its plain API and with the pod's own account."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from faceblur.errors import InputError
from faceblur.live.sharding.leases import (
    Lease,
    LeaseConflictError,
    LeaseRefusedError,
    LeaseStoreError,
)

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
GROUP: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")

_LABEL: Final = "faceblur-group"
_SUBJECT: Final = "faceblur/subject"
_KIND: Final = "faceblur/kind"
_CAMERAS: Final = "faceblur/cameras"
_DURATION: Final = "faceblur/duration-s"
_ANSWER_BYTES: Final = 64 << 20


@dataclass(frozen=True, kw_only=True)
class ApiServer:
    """Where a cluster's API is, and how to be let in.

    Attributes:
        host: Its name or address.
        port: Of its HTTPS.
        account: The folder with `token`, which is read anew for each call since it changes,
            `ca.crt` and `namespace`.
    """

    host: str
    port: int
    account: Path = ACCOUNT

    @classmethod
    def of_this_pod(cls, environment: Mapping[str, str] | None = None) -> ApiServer:
        """That of the cluster in which this process runs.

        Raises:
            InputError: It runs in none, or has no account there.
        """
        environment = os.environ if environment is None else environment
        host = environment.get("KUBERNETES_SERVICE_HOST", "")
        port = environment.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not port.isdecimal():
            raise InputError(
                "--shard-by lease needs a pod in Kubernetes, and this process is in none; leave it "
                "out to run all cameras of the file here"
            )
        for name in ("token", "ca.crt", "namespace"):
            if not (ACCOUNT / name).is_file():
                raise InputError(
                    f"this pod has no account ({ACCOUNT / name} is missing); set "
                    "automountServiceAccountToken: true"
                )
        return cls(host=host, port=int(port))


class KubernetesLeases:
    """The leases of a group in a namespace; see `LeaseStore`. One thread's.

    Raises:
        InputError: The group is no name that labels can have, or the account cannot be used.
    """

    def __init__(self, server: ApiServer, *, group: str, timeout_s: float) -> None:
        if not GROUP.fullmatch(group):
            raise InputError(
                f"--shard-group cannot be {group!r}: use up to 40 of a-z, 0-9 and - within"
            )
        self._server = server
        self._group = group
        self._timeout_s = timeout_s
        try:
            namespace = (server.account / "namespace").read_text().strip()
            self._tls = ssl.create_default_context(cafile=str(server.account / "ca.crt"))
        except OSError as error:
            raise InputError(f"the account of this pod cannot be used: {error}") from error
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace, safe='')}/leases"
        self._connection: http.client.HTTPSConnection | None = None

    def read(self) -> list[Lease]:
        """All leases of the group."""
        selector = quote(f"{_LABEL}={self._group}", safe="")
        answer = self._call("GET", f"{self._path}?labelSelector={selector}")
        try:
            return [lease for item in answer["items"] if (lease := _lease(item)) is not None]
        except (KeyError, TypeError, ValueError) as error:
            raise LeaseStoreError(f"the cluster's API sent no leases: {error!r}") from error

    def write(self, lease: Lease) -> Lease:
        """Make a lease, or change the one with its version."""
        name = lease.name(self._group)
        body = self._body(lease, name)
        if lease.version:
            answer = self._call("PUT", f"{self._path}/{name}", body)
        else:
            answer = self._call("POST", self._path, body)
        try:
            return replace(lease, version=str(answer["metadata"]["resourceVersion"]))
        except (KeyError, TypeError) as error:
            raise LeaseStoreError(f"the cluster's API sent no lease: {error!r}") from error

    def _body(self, lease: Lease, name: str) -> dict[str, Any]:
        version = {"resourceVersion": lease.version} if lease.version else {}
        cameras = {_CAMERAS: json.dumps(lease.cameras)} if lease.cameras else {}
        annotations = {
            _KIND: lease.kind,
            _SUBJECT: lease.subject,
            _DURATION: str(lease.duration_s),
        }
        # For people alone: nobody here compares times of day.
        renewed = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name,
                "labels": {_LABEL: self._group},
                "annotations": annotations | cameras,
                **version,
            },
            "spec": {
                "leaseDurationSeconds": max(1, round(lease.duration_s)),
                "renewTime": renewed,
                **({"holderIdentity": lease.holder} if lease.holder else {}),
            },
        }

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            status, content = self._ask(method, path, None if body is None else json.dumps(body))
        except (OSError, http.client.HTTPException) as error:
            self._hang_up()
            reason = error.strerror if isinstance(error, OSError) else None
            raise LeaseStoreError(
                f"the cluster's API at {self._server.host}:{self._server.port} does not answer: "
                f"{reason or error or type(error).__name__}"
            ) from error
        # Not found: it was deleted, and is made anew when that was seen.
        if status in (http.HTTPStatus.CONFLICT, http.HTTPStatus.NOT_FOUND) and method != "GET":
            raise LeaseConflictError("somebody else has changed the lease")
        answer: Any = None
        with contextlib.suppress(ValueError):
            answer = json.loads(content)
        if not 200 <= status < 300:
            message = answer.get("message") if isinstance(answer, dict) else None
            raise LeaseRefusedError(
                f"the cluster's API refused with {status}: {message or 'it does not say why'}"
            )
        return answer

    def _ask(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        is_new = self._connection is None
        try:
            return self._ask_once(method, path, body)
        except http.client.RemoteDisconnected:
            if is_new:
                raise
            # The other side ends idle connections. What came through before is a conflict now.
            self._hang_up()
            return self._ask_once(method, path, body)

    def _ask_once(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        token = (self._server.account / "token").read_text().strip()
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                self._server.host, self._server.port, timeout=self._timeout_s, context=self._tls
            )
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        self._connection.request(method, path, body=body, headers=headers)
        with self._connection.getresponse() as response:
            return response.status, response.read(_ANSWER_BYTES)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _lease(item: Any) -> Lease | None:
    """One as the API sent it; None for what is of somebody else."""
    metadata, spec = item["metadata"], item.get("spec") or {}
    notes = metadata.get("annotations") or {}
    kind, subject = notes.get(_KIND), notes.get(_SUBJECT)
    if kind not in ("camera", "member") or not subject:
        return None
    return Lease(
        kind=kind,
        subject=subject,
        holder=spec.get("holderIdentity") or "",
        duration_s=float(notes.get(_DURATION) or spec["leaseDurationSeconds"]),
        cameras=tuple(json.loads(notes.get(_CAMERAS) or "[]")),
        version=metadata["resourceVersion"],
    )
