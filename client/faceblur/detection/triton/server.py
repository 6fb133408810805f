"""A tritonserver child process on this machine."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

from faceblur.detection.runtimes import CPU_CHOICE, warn_of
from faceblur.detection.triton import hidden_argument, leftovers, server_token
from faceblur.detection.triton.channel import open_client
from faceblur.detection.triton.client import ENSEMBLE
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.ports import accepts_connections, free_port, port_is_free
from faceblur.detection.triton.process import end, start
from faceblur.detection.triton.runtime import TritonRuntime, server_share, stage_repository
from faceblur.detection.triton.server_options import ServerOptions, command_line
from faceblur.detection.triton.shared_memory import INSTANCE_BYTES, shortage
from faceblur.detection.triton.stub_regions import StubRegions
from faceblur.errors import ServerStartError
from faceblur.owners import own_mark

logger = logging.getLogger(__name__)

_POLL_S = 0.01
_ROOM_BYTES = 64 << 20
_IMAGES = 16
"""Of the largest size, twice a full batch: what a region of the server's may hold at most."""
_LISTENS = "Started GRPCInferenceService"
_TAKEN = "already in use"  # by somebody who took the port since it was found
_HELD_UP = "lock_exception"  # Triton's own end, where a process of its is held up as it starts
_ATTEMPTS = 5
_WITHOUT_GPU = r"CUDA driver|CudaDriverHelper"


class _CrashError(ServerStartError):
    """A signal ended it."""


class TritonServer:
    """Starts, watches and stops one tritonserver.

    A context manager; whatever ends the block, the process and its shared memory are gone after.

    Raises:
        ServerStartError: The server cannot run here, or did not become ready in time.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self._runtime = require_server(options.all_instances)
        self._port = options.port or free_port(options.host)
        self._is_port_known = bool(options.port)
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._regions: StubRegions | None = None
        self._token = server_token.new()
        self._token_is_secret = True

    def __enter__(self) -> TritonServer:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """host:port of the gRPC service; the same after a restart."""
        host = "127.0.0.1" if self.options.host in ("0.0.0.0", "::") else self.options.host
        return f"{host}:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id, None when it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def token(self) -> str | None:
        """What opens its closed calls, for this user's programs; None where they get none."""
        shared = self.options.share_memory and self.options.closed and self._token_is_secret
        return self._token if shared else None

    @property
    def log(self) -> str:
        """What the server wrote so far."""
        if self._folder is None:
            return ""
        return (self._folder / "server.log").read_text(errors="replace")

    def start(self) -> None:
        """Start the process and wait until it says it is ready (which is no proof: see canary).

        With ONNX Runtime, and a warning, where it does not start with another runtime.
        """
        if self.options.port and not port_is_free(self.options.host, self._port):
            raise ServerStartError(
                f"port {self._port} is taken; name another with --port, or stop what listens there"
            )
        try:
            self._start_in_attempts()
        except ServerStartError as error:
            if self.options.choice == CPU_CHOICE:
                raise
            warn_of(error, self.options.choice)
            instances, threads = server_share()
            if self.options.choice.use is not None:
                self.options = replace(self.options, instances=instances, threads=threads)
            self.options = replace(self.options, choice=CPU_CHOICE)
            self._start_in_attempts()

    def _start_in_attempts(self) -> None:
        """Start; once more where that may go better: see `_TAKEN` and `_HELD_UP`."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                self._start()
                break
            except ServerStartError as error:
                is_taken = _TAKEN in str(error) and not self._is_port_known
                if not left or not (is_taken or _HELD_UP in str(error)):
                    raise
            if is_taken:
                self._port = free_port(self.options.host)
        self._is_port_known = True

    def _start(self) -> None:
        """Start it, once more where it crashed: on a busy machine its processes may lose a lock."""
        try:
            self._start_once()
        except _CrashError as error:
            logger.info("%s; it is started once more", error)
            self._start_once()

    def _start_once(self) -> None:
        leftovers.remove_leftovers()
        self._regions = StubRegions()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{leftovers.FOLDER_PREFIX}-{own_mark()}-"))
        try:
            self._runtime.lay_out_backends(self._folder / "backends")
            stage_repository(
                self._folder / "models",
                onnx=self.options.onnx,
                model=self.options.model,
                instances=self.options.instances,
                threads=self.options.threads,
                max_side=self.options.max_side,
                choice=self.options.choice,
                jpeg=self.options.jpeg,
                chained=self.options.chained,
                warm_up=self.options.warm_up,
            )
            before = leftovers.execution_environments()
            self._process = self._launch()
            self._wait_until_ready()
            leftovers.remove_execution_environment(leftovers.execution_environments() - before)
            self._regions.hide()
            self._leave_token()
        except BaseException:
            self.stop()
            raise

    def stop(self, *, grace_s: float = 0.0) -> None:
        """End the process and remove its files and shared memory; safe to call twice.

        It gets `grace_s` to answer what it is working on; it has nothing else to lose.
        """
        process, self._process = self._process, None
        if process is not None:
            end(process, grace_s=grace_s)
        if self._regions is not None:
            self._regions.remove()
        if self._folder is not None:
            server_token.remove(self._port, self._token)
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def restart(self) -> None:
        """Stop what is left of the server and start it on the same port."""
        self.stop()
        self.start()

    def _launch(self) -> subprocess.Popen[bytes]:
        """Start the process, if possible so that nobody else can read its token."""
        if not self.options.closed:
            return self._run(self._arguments(), {})
        values = f"{','.join(self.options.closed)}:{server_token.NAME}={self._token}"
        closing = f"--grpc-restricted-protocol={values}"
        process = self._run(
            [*self._arguments(), hidden_argument.PLACEHOLDER],
            {hidden_argument.VARIABLE: closing},
            is_traced=True,
        )
        self._token_is_secret = hidden_argument.place(process.pid)
        if self._token_is_secret:
            return process
        process.wait()
        logger.info("a command line cannot be kept from other users here: no shared memory")
        return self._run([*self._arguments(), closing], {})

    def _run(
        self, command: Sequence[str], environment: dict[str, str], *, is_traced: bool = False
    ) -> subprocess.Popen[bytes]:
        assert self._folder is not None
        return start(
            command,
            environment=self._runtime.environment() | environment,
            log=self._folder / "server.log",
            file_bytes=_ROOM_BYTES + _IMAGES * 3 * self.options.max_side**2,
            is_traced=is_traced,
        )

    def _leave_token(self) -> None:
        try:
            if self.token is not None:
                server_token.save(self._port, self.token)
        except OSError as error:
            logger.info("other programs get no shared memory of this server: %s", error)

    def _arguments(self) -> Sequence[str]:
        assert self._folder is not None
        assert self._regions is not None
        return [
            str(self._runtime.executable),
            *command_line(self.options, self._folder, self._port, self._regions.prefix),
        ]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.options.patience_s
        # gRPC tries again only a second after a refused connection: do not let it begin too early.
        while time.monotonic() < deadline:
            self._check_running()
            if accepts_connections(self.address):
                break
            time.sleep(_POLL_S)
        plain = self.options.certificate is None  # TLS hides the readiness call from others
        with open_client(Connection(address=self.address)) as client:
            while time.monotonic() < deadline:
                self._check_running()
                # Its own word first: another server may have taken the port.
                if _LISTENS in self.log and (not plain or _is_ready(client)):
                    return
                time.sleep(_POLL_S)
        # Its log tells why it does not listen, and nothing of why we do not reach it.
        reason = (
            f"it runs, but does not answer at {self.address}; see whether a firewall stands between"
            if _LISTENS in self.log
            else self._reason()
        )
        raise ServerStartError(
            f"the Triton server was not ready after {self.options.patience_s:g} s: {reason}"
        )

    def _check_running(self) -> None:
        code = None if self._process is None else self._process.poll()
        if code is not None:
            kind = _CrashError if code < 0 else ServerStartError
            raise kind(f"the Triton server did not start: {self._reason()}")

    def _reason(self) -> str:
        errors = re.findall(r"^E\d+ [\d:.]+ \d+ \S+\] (.*)$", self.log, re.MULTILINE)
        # Where there is no GPU it says so, and goes on.
        errors = [line for line in errors if not re.search(_WITHOUT_GPU, line)]
        lines = errors or self.log.strip().splitlines() or ["it wrote nothing"]
        logger.info("log of the Triton server:\n%s", self.log)
        return " ".join(lines[-1].replace('"', "").split())[:400]


def require_server(instances: int) -> TritonRuntime:
    """The installed server, if it can run so many inferences at a time on this machine.

    Raises:
        ServerStartError: It cannot; the message says why.
    """
    runtime = TritonRuntime.find()
    if reason := shortage(instances * INSTANCE_BYTES):
        raise ServerStartError(f"the Triton server gets no shared memory: {reason}")
    if not os.access(leftovers.PACKAGES_FOLDER, os.W_OK | os.X_OK):
        raise ServerStartError(
            f"the Triton server cannot write to {leftovers.PACKAGES_FOLDER}: mount a folder there"
        )
    return runtime


def _is_ready(client: grpcclient.InferenceServerClient) -> bool:
    try:
        is_up = client.is_server_ready(client_timeout=1.0)
        return bool(is_up and client.is_model_ready(ENSEMBLE, client_timeout=1.0))
    except InferenceServerException:
        return False
