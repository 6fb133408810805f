"""Servers that misbehave on demand: one in front of the real one, a proxy, and a silent one."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal

import grpc
from tritonclient.grpc import service_pb2

from rig.ports import free_port

Mode = Literal[
    "pass", "hang", "late", "error", "malformed", "garbage", "other request", "lost face count"
]
LATE_S: Final = 2.5
"""Longer than any deadline that the rig's cameras have."""

_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
_LIMITS: Final = [
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.max_receive_message_length", 64 << 20),
]


class FaultyServer:
    """A gRPC server in front of a real one, which answers as it does, or in one of its `Mode`s.

    Attributes:
        mode: How it treats inferences from now on; everything else it passes on, so that the
            server goes on saying that it is ready.
    """

    def __init__(self, address: str) -> None:
        self.mode: Mode = "pass"
        self._channel = grpc.insecure_channel(address, options=_LIMITS)
        self._last_reply = b""
        self._released = threading.Event()
        # It is listened at again and again, and nobody else has it in between.
        self._port = free_port()
        self._server: Any = None
        self.listen()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._port}"

    def listen(self) -> None:
        """Take connections (again)."""
        if self._server is None:
            self._server = grpc.server(ThreadPoolExecutor(16), options=_LIMITS)
            self._server.add_generic_rpc_handlers((_Handler(self._serve),))
            self._server.add_insecure_port(self.address)
            self._server.start()

    def refuse(self) -> None:
        """Take no connections, and drop those there are."""
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None

    def set(self, mode: Mode) -> None:
        """Treat inferences in another way; those that hang go on."""
        self.mode = mode
        if mode != "hang":
            self._released.set()
            self._released = threading.Event()

    def close(self) -> None:
        """End it."""
        self.set("pass")
        self.refuse()
        self._channel.close()

    def _serve(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        mode = self.mode if method == _INFER else "pass"
        if mode == "hang":
            self._released.wait(60)
        elif mode == "late":
            time.sleep(LATE_S)
        elif mode == "error":
            context.abort(grpc.StatusCode.INTERNAL, "the model has failed")
        try:
            reply: bytes = self._channel.unary_unary(method)(request, timeout=10)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details() or "")
        if method == _INFER:
            last, self._last_reply = self._last_reply, reply
            return _spoiled(reply, last, mode)
        return reply


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, serve: Callable[[str, bytes, grpc.ServicerContext], bytes]) -> None:
        self._serve = serve

    def service(self, details: Any) -> Any:
        method = details.method
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._serve(method, request, context)
        )


def _spoiled(reply: bytes, last: bytes, mode: Mode) -> bytes:
    """A reply as a broken server could give it."""
    if mode == "garbage":
        return b"\xff" * 64
    if mode == "other request":
        # A true answer, to the frame before.
        return last or b""
    if mode not in ("malformed", "lost face count"):
        return reply
    message = service_pb2.ModelInferResponse.FromString(reply)
    if mode == "malformed":
        message.raw_output_contents[0] = message.raw_output_contents[0][:-4] + b"\0\0\xc0\x7f"
        message.outputs[0].shape[-1] = 14
    else:
        del message.outputs[1:], message.raw_output_contents[1:]
    text: bytes = message.SerializeToString()
    return text


class TcpProxy:
    """The network between: passes bytes on, or loses them, or is cut."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._target = (host, int(port))
        self._is_lossy = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        # It is listened at again and again, and nobody else has it in between.
        self._port = free_port()
        self.join()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._port}"

    def join(self) -> None:
        """Be a working network (again)."""
        self._is_lossy.clear()
        if self._listener is None:
            listener = socket.create_server(("127.0.0.1", self._port), backlog=16)
            self._listener = listener
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def lose(self) -> None:
        """Swallow everything without a word, as a network does whose cable is pulled."""
        self._is_lossy.set()

    def cut(self) -> None:
        """Close all connections and take no more."""
        if self._listener is not None:
            # Closing alone would not end the accept under way.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target, timeout=5)
            except OSError:
                client.close()
                continue
            for source, sink in ((client, server), (server, client)):
                self._sockets.add(source)
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        source.settimeout(None)
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                while self._is_lossy.is_set():
                    data = source.recv(1 << 16)
                sink.sendall(data)
        self._sockets.discard(source)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class SilentServer:
    """Accepts every connection and never says a word."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._accepted: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    @property
    def connections(self) -> int:
        """How many it has accepted."""
        return len(self._accepted)

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._accepted:
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._accepted.append(self._listener.accept()[0])
