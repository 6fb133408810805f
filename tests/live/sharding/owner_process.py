"""A service without cameras: it writes down, all the time, which ones it would be running."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from faceblur.live.sharding.keeper import LeaseKeeper
from faceblur.live.sharding.kubernetes import ApiServer, KubernetesLeases
from faceblur.live.sharding.permit import Permit, now_s
from faceblur.live.sharding.shard import Shard


def main(port: str, account: str, member: str, lease: str, record: str, cameras: list[str]) -> None:
    """Run until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    lease_s = float(lease)
    server = ApiServer(host="127.0.0.1", port=int(port), account=Path(account))
    # What takes longer came too late, and a machine that is busy may take so long.
    store = KubernetesLeases(server, group="test", timeout_s=lease_s)
    keeper = LeaseKeeper(Shard(store, member=member, lease_s=lease_s))
    keeper.start()
    running: dict[str, Permit] = {}
    turns = dict.fromkeys(cameras, 0)
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
            turns[name] += 1
        for name, permit in running.items():
            shown_s = now_s()
            if permit.is_valid:
                os.write(file, f"{shown_s:.6f} {name} {member} {turns[name]}\n".encode())
    for permit in running.values():
        permit.leave()
    keeper.close()


if __name__ == "__main__":
    main(*sys.argv[1:6], sys.argv[6:])
