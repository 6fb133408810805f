"""What of Kubernetes' API keeps leases, with its optimistic concurrency, over real HTTPS."""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import trustme

from faceblur.live.sharding.kubernetes import ApiServer, KubernetesLeases

NAMESPACE = "video"
TOKEN = "let-me-in"
PATH = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
VERBS = {"GET": "list", "POST": "create", "PUT": "update"}


@dataclass
class LeaseApi:
    """What a running one holds, and how it is to behave.

    Attributes:
        lax: It compares no versions, which Kubernetes does.
        lose_answers: So many writes are done and their answers cut off.
        fail_with: A status in place of every answer.
        hang_s: How long each answer takes.
        verbs: What it was asked to do.
    """

    server: ApiServer
    lax: bool = False
    lose_answers: int = 0
    fail_with: int = 0
    hang_s: float = 0.0
    verbs: set[str] = field(default_factory=set)
    leases: dict[str, dict[str, Any]] = field(default_factory=dict)
    _version: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        """What Kubernetes would say."""
        if self.fail_with:
            return self.fail_with, {"kind": "Status", "message": "etcdserver: request timed out"}
        with self._lock:
            parts = urlsplit(path)
            if method == "GET" and parts.path == PATH:
                key, _, value = parse_qs(parts.query)["labelSelector"][0].partition("=")
                items = [
                    lease for lease in self.leases.values()
                    if lease["metadata"]["labels"].get(key) == value
                ]  # fmt: skip
                return 200, {"kind": "LeaseList", "items": items}
            if _refusal(body):
                return 422, {"kind": "Status", "message": _refusal(body)}
            name = body["metadata"]["name"]
            old = self.leases.get(name)
            if method == "POST" and parts.path == PATH:
                if old is not None and not self.lax:
                    return 409, {"kind": "Status", "reason": "AlreadyExists"}
            elif method == "PUT" and parts.path == f"{PATH}/{name}":
                if old is None:
                    return 404, {"kind": "Status", "reason": "NotFound"}
                known = body["metadata"]["resourceVersion"]
                if known != old["metadata"]["resourceVersion"] and not self.lax:
                    return 409, {"kind": "Status", "reason": "Conflict"}
            else:
                return 404, {"kind": "Status", "reason": "NotFound"}
            self._version += 1
            body["metadata"]["resourceVersion"] = str(self._version)
            self.leases[name] = body
            return 200 if method == "PUT" else 201, body

    def holders(self, kind: str) -> dict[str, str]:
        """Who has what, without the part of the name that is made of chance."""
        with self._lock:
            return {
                each["metadata"]["annotations"]["faceblur/subject"]: each["spec"]
                .get("holderIdentity", "")
                .rpartition("_")[0]
                for each in self.leases.values()
                if each["metadata"]["annotations"]["faceblur/kind"] == kind
            }


def _refusal(body: dict[str, Any]) -> str:
    """Why Kubernetes would not take a lease."""
    meta, spec = body["metadata"], body["spec"]
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", meta["name"]):
        return "metadata.name: Invalid value"
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", spec["renewTime"]):
        return "spec.renewTime: not a MicroTime"
    if not isinstance(spec["leaseDurationSeconds"], int) or spec["leaseDurationSeconds"] < 1:
        return "spec.leaseDurationSeconds: must be greater than 0"
    if any(not re.fullmatch(r"[a-z0-9-]{1,63}", value) for value in meta["labels"].values()):
        return "metadata.labels: Invalid value"
    return ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: LeaseApi

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(401, {"kind": "Status", "message": "Unauthorized"})
            return
        time.sleep(self.api.hang_s)
        self.api.verbs.add(VERBS[self.command])
        status, answer = self.api.answer(self.command, self.path, body)
        if self.api.lose_answers and self.command != "GET":
            self.api.lose_answers -= 1
            self.close_connection = True
            return
        self._send(status, answer)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None: ...


@contextmanager
def lease_api(folder: Path) -> Iterator[LeaseApi]:
    """A running one; the account of its pods is in `folder`."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    (folder / "token").write_text(f"{TOKEN}\n")
    (folder / "namespace").write_text(NAMESPACE)
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    api = LeaseApi(ApiServer(host="127.0.0.1", port=server.server_address[1], account=folder))
    handler.api = api
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()


def store_of(api: LeaseApi, group: str = "test", *, timeout_s: float = 60.0) -> KubernetesLeases:
    """The leases of one group, as one process sees them."""
    return KubernetesLeases(api.server, group=group, timeout_s=timeout_s)
