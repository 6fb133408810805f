"""An audit of several chains shows what was changed in it, in whatever order they were written."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from test_audit import KEY, add

from faceblur.proof.audit.chains import AuditChains, read
from faceblur.proof.audit.log import AuditLog
from faceblur.proof.audit.manifest import AuditError
from faceblur.proof.audit.merkle import roots
from faceblur.proof.verify.audited import AuditedOutput


def _rfc_6962(leaves: list[bytes]) -> bytes:
    """The definition, word for word: MTH of section 2.1."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    both = _rfc_6962(leaves[:k]) + _rfc_6962(leaves[k:])
    return hashlib.sha256(b"\x01" + both).digest()


def test_roots_are_those_of_the_definition() -> None:
    leaves = [bytes([n]) * n for n in range(20)]
    assert list(roots(leaves)) == [_rfc_6962(leaves[:n]).hex() for n in range(21)]
    # Published with the reference implementation of Certificate Transparency.
    (_, one) = roots([b""])
    assert one == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def _write(folder: Path, key: bytes | None = None) -> list[AuditLog]:
    """Three workers by turns, sealed in between and at the end; the third has written nothing."""
    audit = AuditChains(folder, key=key)
    logs = [audit.place.begin(key=key) for _ in range(3)]
    for number in range(1, 6):
        add(logs[number % 2], f"photo{number}.jpg")
        if number == 3:
            audit.seal()
    audit.seal()
    return logs


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two audits of several chains."""
    root = tmp_path_factory.mktemp("audits")
    _write(root / "audit")
    _write(root / "other")
    return root


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """One of them, to be changed."""
    return shutil.copytree(written / "audit", tmp_path / "audit")


def test_what_was_written_is_read_and_gone_on_with(folder: Path) -> None:
    audit = read(folder)
    names = [entry.manifest.output.name for entry in audit.entries]
    assert sorted(names) == [f"photo{number}.jpg" for number in range(1, 6)]
    assert not audit.sealed
    assert audit.head == AuditChains(folder).seal().head
    # The next run knows what is there, and what was noted of the last one is found again.
    again = AuditChains(folder)
    log = again.place.begin(key=None, covered=again.covered)
    facts = audit.entries[0].manifest
    what = {"settings": facts.settings_sha256, "model": facts.model.sha256}
    source, output = facts.source.sha256 or "", facts.output.sha256 or ""
    assert log.covers(source=source, output=output, **what)
    assert not log.covers(source=output, output="0", **what)
    add(log, "photo6.jpg")
    with pytest.raises(AuditError, match="not sealed to its end: 1 of its chains"):
        read(folder)
    later = again.seal()
    assert later.head != audit.head
    assert read(folder).holds(audit.head[:12])
    assert not read(folder).holds("0" * 12)
    with pytest.raises(AuditError, match="--shard 0/1"):
        AuditLog(folder)


def _chain(folder: Path, entries: int) -> Path:
    """A chain with so many manifests."""
    found = (folder / "chains").iterdir()
    return next(path for path in found if len(list(path.glob("0*.jsonl"))) == entries)


def _edit(folder: Path, _: Path) -> None:
    path = _chain(folder, 3) / "00000002.jsonl"
    path.write_text(path.read_text().replace('"faces":2', '"faces":1', 1))


def _remove(folder: Path, _: Path) -> None:
    (_chain(folder, 3) / "00000002.jsonl").unlink()


def _remove_last_and_mend_the_head(folder: Path, _: Path) -> None:
    chain = _chain(folder, 2)
    (chain / "00000002.jsonl").unlink()
    sha256 = hashlib.sha256((chain / "00000001.jsonl").read_bytes()).hexdigest()
    head = json.loads((chain / "head.json").read_text())
    (chain / "head.json").write_text(json.dumps({**head, "entries": 1, "sha256": sha256}))


def _remove_chain(folder: Path, _: Path) -> None:
    shutil.rmtree(_chain(folder, 2))


def _remove_all_chains(folder: Path, _: Path) -> None:
    shutil.rmtree(folder / "chains")


def _remove_seal(folder: Path, _: Path) -> None:
    (folder / "seal.json").unlink()


def _forget_chain(folder: Path, _: Path) -> None:
    chain = _chain(folder, 2)
    shutil.rmtree(chain)
    seal = json.loads((folder / "seal.json").read_text())
    seal["heads"] = [head for head in seal["heads"] if head[0] != chain.name]
    (folder / "seal.json").write_text(json.dumps(seal))


def _foreign_chain(folder: Path, other: Path) -> None:
    shutil.copytree(_chain(other, 3), folder / "chains" / "aaaaaaaaaaaaaaaa")


def _foreign_chain_in_place(folder: Path, other: Path) -> None:
    chain = _chain(folder, 3)
    shutil.rmtree(chain)
    shutil.copytree(_chain(other, 3), chain)


def _own_chain_twice(folder: Path, _: Path) -> None:
    shutil.copytree(_chain(folder, 3), folder / "chains" / "aaaaaaaaaaaaaaaa")


def _single_chain(folder: Path, other: Path) -> None:
    log = AuditLog(folder.parent / "single")
    add(log, "photo9.jpg")
    shutil.copytree(log.folder, folder / "chains" / "aaaaaaaaaaaaaaaa")


def _foreign_seal(folder: Path, other: Path) -> None:
    shutil.copy(other / "seal.json", folder / "seal.json")


def _rewrite_what_was_sealed_before(folder: Path, _: Path) -> None:
    chain = _chain(folder, 3)
    first = json.loads((chain / "00000001.jsonl").read_text().splitlines()[0])
    shutil.rmtree(chain)
    log = AuditLog(chain, beginning=first["previous"])
    for number in range(3):
        add(log, f"other{number}.jpg")
    seal = json.loads((folder / "seal.json").read_text())
    last = max(n for n, head in enumerate(seal["heads"]) if head[0] == chain.name)
    seal["heads"][last][2] = log.head[1]
    leaves = [seal["audit"], *(" ".join(map(str, head)) for head in seal["heads"])]
    *_, seal["root"] = roots(leaf.encode() for leaf in leaves)
    (folder / "seal.json").write_text(json.dumps(seal))


def _damage_seal(folder: Path, _: Path) -> None:
    (folder / "seal.json").write_text("{")


def _count_without_end(folder: Path, _: Path) -> None:
    text = (folder / "seal.json").read_text()
    (folder / "seal.json").write_text(re.sub(r"(,\s+)[123](,\s)", r"\g<1>1e999\2", text, count=1))


def _name_that_is_no_text(folder: Path, _: Path) -> None:
    text = (folder / "seal.json").read_text()
    (folder / "seal.json").write_text(
        text.replace('"heads": [\n  [\n   "', '"heads": [[ "\\ud800', 1)
    )


CHANGES = [
    (_edit, "00000002.jsonl is not what 00000003.jsonl was chained to"),
    (_remove, "00000002.jsonl is missing"),
    (_remove_last_and_mend_the_head, "is shorter than when it was sealed"),
    (_remove_chain, "the chain .* is missing"),
    (_remove_all_chains, "the chain .* is missing"),
    (_remove_seal, "seal.json is missing"),
    (_forget_chain, "the heads in seal.json are not those of its root"),
    (_foreign_chain, "00000001.jsonl belongs to another audit"),
    (_foreign_chain_in_place, "00000001.jsonl belongs to another audit"),
    (_own_chain_twice, "00000001.jsonl belongs to another audit"),
    (_single_chain, "00000001.jsonl belongs to another audit"),
    (_foreign_seal, "belongs to another audit|is not the one that the head names"),
    (_rewrite_what_was_sealed_before, "is not the one that was sealed"),
    (_damage_seal, "seal.json cannot be read"),
    (_count_without_end, "seal.json cannot be read"),
    (_name_that_is_no_text, "seal.json cannot be read"),
]


@pytest.mark.parametrize(("change", "sentence"), CHANGES)
def test_a_change_is_found_by_the_reader_and_the_next_run(
    folder: Path, written: Path, change: Callable[[Path, Path], None], sentence: str
) -> None:
    change(folder, written / "other")
    with pytest.raises(AuditError, match=sentence):
        read(folder)
    with pytest.raises(AuditError, match=sentence):
        AuditChains(folder)


def test_a_run_that_was_killed_is_gone_on_with_and_its_changes_are_found(folder: Path) -> None:
    log = AuditChains(folder).place.begin(key=None)
    add(log, "photo6.jpg")
    add(log, "photo7.jpg")
    (folder / "chains" / "begun").mkdir()
    with pytest.raises(AuditError, match="not sealed to its end"):
        read(folder)
    path = log.folder / "00000001.jsonl"
    text = path.read_text()
    path.write_text(text.replace("photo6.jpg", "photo8.jpg"))
    with pytest.raises(AuditError, match="is not what"):
        AuditChains(folder)
    path.write_text(text)
    assert len(AuditChains(folder).seal().entries) == 7
    assert len(read(folder).entries) == 7


def test_a_chain_that_does_not_hold_is_not_sealed(folder: Path) -> None:
    audit = AuditChains(folder)
    before = (folder / "seal.json").read_bytes()
    add(audit.place.begin(key=None), "photo6.jpg")
    _edit(folder, folder)
    with pytest.raises(AuditError, match="is not what"):
        audit.seal()
    assert (folder / "seal.json").read_bytes() == before


def test_with_a_key_nobody_else_can_write_a_seal(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    logs = _write(folder, KEY)
    assert read(folder).sealed
    assert read(folder, key=KEY).checked_with_key
    with pytest.raises(AuditError, match="set FACEBLUR_AUDIT_KEY"):
        AuditChains(folder)
    with pytest.raises(AuditError, match="sealed with another key"):
        AuditChains(folder, key=b"another")
    for path in (folder / "seal.json", logs[0].folder / "head.json"):
        fields = path.read_text()
        path.write_text(json.dumps({**json.loads(fields), "hmac_sha256": "ä"}))
        with pytest.raises(AuditError, match="sealed with another key"):
            read(folder, key=KEY)
        path.write_text(fields)
    # Whoever removes a chain and rewrites the seal has no key to seal it with.
    audit = json.loads((folder / "seal.json").read_text())
    shutil.rmtree(logs[0].folder)
    audit["heads"] = [head for head in audit["heads"] if head[0] != logs[0].folder.name]
    leaves = [audit["audit"], *(" ".join(map(str, head)) for head in audit["heads"])]
    *_, audit["root"] = roots(leaf.encode() for leaf in leaves)
    (folder / "seal.json").write_text(json.dumps(audit))
    assert read(folder)
    with pytest.raises(AuditError, match="sealed with another key"):
        read(folder, key=KEY)


def test_verify_finds_the_manifest_of_an_output_in_any_chain(folder: Path, tmp_path: Path) -> None:
    for number in range(1, 6):
        output = tmp_path / f"photo{number}.jpg"
        output.write_text("changed since")
        found = AuditedOutput.of(folder, output, None)
        assert found.manifest.output.name == output.name
        assert "it was changed afterwards" in found.problems[0]
    _edit(folder, folder)
    with pytest.raises(AuditError, match="is not what"):
        AuditedOutput.of(folder, output, None)


def test_one_chain_and_several_are_not_mixed(tmp_path: Path) -> None:
    add(AuditLog(tmp_path / "single"))
    with pytest.raises(AuditError, match="is one chain"):
        AuditChains(tmp_path / "single")
    assert len(read(tmp_path / "single").entries) == 1
    with pytest.raises(AuditError, match="there is no audit"):
        read(tmp_path / "nothing")
