"""Leases in what Kubernetes' API does with them, and the options that lead there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from lease_api import TOKEN, LeaseApi, store_of

from faceblur.cli import main
from faceblur.errors import InputError
from faceblur.live.sharding import kubernetes
from faceblur.live.sharding.kubernetes import ApiServer, KubernetesLeases
from faceblur.live.sharding.leases import Lease, LeaseConflictError, LeaseStoreError

DOOR = Lease(kind="camera", subject="The Door!", holder="a_1", duration_s=15.0)


def test_a_lease_is_changed_only_as_it_is_known(api: LeaseApi) -> None:
    first, second = store_of(api), store_of(api)
    mine = first.write(DOOR)
    assert second.read() == [mine]
    with pytest.raises(LeaseConflictError):
        second.write(replace(DOOR, holder="b_1"))
    renewed = first.write(mine)
    assert renewed.version != mine.version
    with pytest.raises(LeaseConflictError):
        second.write(replace(mine, holder="b_1"))
    theirs = second.write(replace(renewed, holder="", cameras=("x", "ü")))
    assert first.read() == [theirs]
    # Whoever deletes one is not in the way.
    api.leases.clear()
    with pytest.raises(LeaseConflictError):
        first.write(theirs)
    assert store_of(api, "other").read() == []
    assert mine.name("test").startswith("test-camera-the-door-")


def test_what_the_api_does_not_do_is_said(api: LeaseApi) -> None:
    store = store_of(api)
    store.write(DOOR)
    api.fail_with = 503
    with pytest.raises(LeaseStoreError, match="refused with 503: etcdserver: request timed out"):
        store.read()
    api.fail_with, api.hang_s = 0, 600.0
    with pytest.raises(LeaseStoreError, match=r"does not answer: .*timed out"):
        store_of(api, timeout_s=0.5).read()
    api.hang_s, api.lose_answers = 0.0, 1
    # On a connection that was in use, the call is made again, and finds its own work done.
    store.read()
    with pytest.raises(LeaseConflictError):
        store.write(replace(DOOR, subject="yard"))
    token = api.server.account / "token"
    token.write_text("expired")
    with pytest.raises(LeaseStoreError, match="refused with 401: Unauthorized"):
        store.read()
    token.write_text(TOKEN)
    assert {lease.subject for lease in store.read()} == {"The Door!", "yard"}
    (api.server.account / "ca.crt").write_text("no certificate")
    with pytest.raises(InputError, match="account of this pod cannot be used"):
        store_of(api)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--shard-by", "lease"], "this process is in none"),
        (["--shard-group", "x"], "go with --shard-by lease"),
        (["--shard-by", "lease", "--lease-s", "1"], "5.0<=x<=300.0"),
    ],
)
def test_wrong_options_are_said(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    file = tmp_path / "cameras.yaml"
    file.write_text("cameras: {a: {source: testpattern, sinks: ['null']}}")
    result = CliRunner().invoke(main, ["run", str(file), *words])
    assert result.exit_code == 2 or isinstance(result.exception, SystemExit)
    assert says in result.output
    with pytest.raises(InputError, match="--shard-group cannot be 'No!'"):
        KubernetesLeases(ApiServer(host="x", port=1), group="No!", timeout_s=1)


def test_the_clusters_api_is_found_by_the_pods_environment(
    api: LeaseApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
    monkeypatch.setattr(kubernetes, "ACCOUNT", api.server.account)
    found = ApiServer.of_this_pod(environment)
    assert (found.host, found.port) == ("10.0.0.1", 6443)
    (api.server.account / "token").unlink()
    with pytest.raises(InputError, match="token is missing"):
        ApiServer.of_this_pod(environment)
