"""The connection to one Triton server or several, and what keeps it alive."""

from __future__ import annotations

import json

import tritonclient.grpc as grpcclient

from faceblur.detection.triton import server_token
from faceblur.detection.triton.connection import Connection
from faceblur.detection.triton.loopback import hosts_of, is_loopback

CHANNEL_OPTIONS = [
    # A 4K canvas has 25 MB; gRPC's own limit is 4.
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.max_receive_message_length", 16 << 20),
    # gRPC's own backoff grows to two minutes, and a camera stays masked for as long.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Also how long a connection may take that was accepted; 20 s by default.
    ("grpc.min_reconnect_backoff_ms", 1_000),
    # Two clients never share a connection: a new one is the way out of one that is beyond repair.
    ("grpc.use_local_subchannel_pool", 1),
    # A server that hangs, or whose network was cut, is noticed though its connection stands.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
]

_BALANCING = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            # The next try goes to the next server: one that was killed, or whose Python backend
            # died (which is an internal error), costs no frame.
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.01s",
                "maxBackoff": "0.1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "INTERNAL"],
            },
        }
    ],
}
"""gRPC's service config for an address that may stand for several servers.

Which of them are well is told by their connections, kept alive, and by the retries: Triton does not
serve gRPC's own health watch.
"""

SEVERAL_OPTIONS = [
    *CHANNEL_OPTIONS,
    ("grpc.service_config", json.dumps(_BALANCING)),
    # What is larger than this is not tried again.
    ("grpc.per_rpc_retry_buffer_size", 64 << 20),
    # Names are looked up again this often at most, so that servers may come and go.
    ("grpc.dns_min_time_between_resolutions_ms", 5_000),
]


def open_client(connection: Connection) -> grpcclient.InferenceServerClient:
    """A client with a channel of its own; nothing is sent yet."""
    tls = connection.tls
    options = SEVERAL_OPTIONS if connection.is_several else CHANNEL_OPTIONS
    if all(is_loopback(host) for host in hosts_of(connection.address)):
        options = [*options, ("grpc.enable_http_proxy", 0)]
    files = (tls.root_ca, tls.key, tls.certificate) if tls else (None,) * 3
    root_ca, key, certificate = (str(file) if file else None for file in files)
    client = grpcclient.InferenceServerClient(
        connection.address,
        ssl=tls is not None,
        root_certificates=root_ca,
        private_key=key,
        certificate_chain=certificate,
        channel_args=options,
    )
    if token := connection.token or server_token.find(connection.address):
        client.register_plugin(server_token.Opener(token))
    return client
