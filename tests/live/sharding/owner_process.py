"""A service without cameras: it writes down, all the time, which ones it would be running."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from faceblur.live.sharding import shard
from faceblur.live.sharding.keeper import LeaseKeeper
from faceblur.live.sharding.kubernetes import ApiServer, KubernetesLeases
from faceblur.live.sharding.permit import Permit, now_s
from faceblur.live.sharding.shard import TURNS, Shard


def main(port: str, account: str, member: str, lease: str, record: str, cameras: list[str]) -> None:
    """Run until SIGTERM; with MARGIN set, by a margin that is not ours."""
    shard.MARGIN = float(os.environ.get("MARGIN", shard.MARGIN))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    lease_s = float(lease)
    server = ApiServer(host="127.0.0.1", port=int(port), account=Path(account))
    store = KubernetesLeases(server, group="test", timeout_s=lease_s / TURNS)
    keeper = LeaseKeeper(Shard(store, member=member, lease_s=lease_s))
    keeper.start()
    running: dict[str, Permit] = {}
    file = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while not stop.wait(0.005):
        keeper.want(cameras)
        permits = keeper.permits()
        for name in [name for name, permit in running.items() if permits.get(name) is not permit]:
            running.pop(name).leave()
            keeper.wake()
        for name in permits.keys() - running.keys():
            permits[name].enter()
            running[name] = permits[name]
        for name, permit in running.items():
            shown_s = now_s()
            if permit.is_valid:
                os.write(file, f"{shown_s:.4f} {name} {member}\n".encode())
    for permit in running.values():
        permit.leave()
    keeper.close()


if __name__ == "__main__":
    main(*sys.argv[1:6], sys.argv[6:])
