"""Figures in the pages, and the results that they come from.

A block of text or a table that states what was measured is followed by an HTML comment, which names
where each figure comes from, in the order in which they stand there:

    <!-- figures
    1.36 = batch.json: rows/contender=2 workers/speed_ratio
    0.97 = {tiles.json: masks/tiles=auto/cpu_s} / {tiles.json: masks/tiles=auto/canvases}
    737 = 384 * 640 * 3 / 1000
    199 = pytest tests/export/onnx_graph/test_candidates.py
    30 = estimate
    -->

A key is a path in a file of perf/results; `name=value` picks the entry of a list, `&` joins two.
Words stand for what no result holds: a `setting` was chosen, a `name` is no figure at all;
`estimate`, `published` and `command` have to be said or given in the block itself. `pytest` names a
test that holds the figure.
"""

from __future__ import annotations

import ast
import json
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

WORDS: Final = {
    "setting": "",
    "name": "",
    "estimate": r"\b[Ee]stimate",
    "published": r"\b[Pp]ublished by\b",
    "command": r"`[^`]*(?:faceblur|perf/)[^`]*`",
}
"""What stands in place of a key, and what the block itself has to say then."""

NUMBER: Final = (
    r"(?<![\w.,])[-+−±]?\d{1,3}(?:,\d{3})+(?![\w,])|(?<![\w.,×])[-+−±]?\d+(?:\.\d+)?(?![\w×]|\.\d)"
)
_UNIT = r"(?:kB|MB|GB|Mbit/s|ms|infer/s)\b"
_VERSION = (
    r"(?:(?:Python|CUDA|TensorRT|Triton|Compose|tritonserver|Runtime) \d[\d.]*"
    r"(?:(?:-|, | and )\d[\d.]*)*"
    r"|(?<![\d.])2\d\.(?:0\d|1[0-2])(?!\d|\.\d))"
)
_MEASURED = re.compile(rf"({NUMBER})(?= ?{_UNIT})|((?<![\w.])[-+−±]?\d+\.\d{{2,}}(?![\w]|\.\d))")
_SHARE = re.compile(r"(?<![\w.])(\d+) of (?:the )?(\d+)(?![\w.])")
_COMMENT = re.compile(r"<!-- figures\n(.*?)-->", re.DOTALL)
_OPERATORS: Final[dict[type, Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Block:
    """A paragraph, list or table, and what is said about its figures.

    Attributes:
        raw: As it stands in the page.
        text: The same without code and addresses.
        sources: Figure and source, as listed below it.
    """

    raw: str
    text: str
    sources: tuple[tuple[str, str], ...]


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page, without fenced code, code spans and addresses of links."""
    page = re.sub(r"^ *```.*?^ *```$", "", page, flags=re.DOTALL | re.MULTILINE)
    parts = [part for part in re.split(r"\n\s*\n", page) if part.strip()]
    for index, part in enumerate(parts):
        if part.lstrip().startswith("<!-- figures"):
            continue
        below = parts[index + 1] if index + 1 < len(parts) else ""
        found = _COMMENT.search(part) or (
            _COMMENT.match(below.lstrip()) if below.lstrip().startswith("<!-- figures") else None
        )
        lines = found[1].splitlines() if found else []
        sources = [line.partition(" = ")[::2] for line in lines if line.strip()]
        yield Block(part, _plain(_COMMENT.sub("", part)), tuple((f.strip(), s) for f, s in sources))


def faults(page: str, *, results: Path, root: Path) -> list[str]:
    """What is wrong with the figures of a page: one without a source, or not the one of its source.

    Args:
        page: Markdown.
        results: The folder of JSON files.
        root: Of the project, for tests.
    """
    found = []
    for block in blocks(page):
        said = iter(re.findall(NUMBER, block.text))
        # Two that are exchanged show: `in` goes on where the last one was.
        found += [f"{f}: named, but not there" for f, _ in block.sources if f not in said]
        named = Counter(figure for figure, _ in block.sources)
        wanted = Counter(_measured(block.text))
        found += [f"{figure}: no source: {block.text[:60]!r}" for figure in wanted - named]
        for figure, source in block.sources:
            try:
                _judge(figure, source, block=block.raw, results=results, root=root)
            except (ValueError, OSError, LookupError, SyntaxError) as error:
                found.append(f"{figure} = {source}: {error}")
    return found


def lookup(results: Path, reference: str) -> float:
    """The value of `FILE.json: path`.

    Raises:
        LookupError: There is no such key, or more than one entry.
        ValueError: It is no number.
    """
    name, _, path = reference.partition(": ")
    value: Any = json.loads((results / name.strip()).read_text())
    for step in path.strip().split("/"):
        if isinstance(value, list) and step.isdigit():
            value = value[int(step)]
        elif isinstance(value, list):
            wanted = [pair.partition("=")[::2] for pair in step.split("&")]
            own = [each for each in value if all(str(each[k]) == v for k, v in wanted)]
            if len(own) != 1:
                raise LookupError(f"{len(own)} entries are {step}")
            (value,) = own
        elif step not in value:
            raise LookupError(f"{name} has no {step}")
        else:
            value = value[step]
    if not isinstance(value, int | float):
        raise ValueError(f"{path} is no number")
    return value


def _judge(figure: str, source: str, *, block: str, results: Path, root: Path) -> None:
    if source in WORDS:
        if not re.search(WORDS[source], block):
            raise ValueError("the block does not say so")
        return
    if source.startswith("pytest "):
        if not (root / source.removeprefix("pytest ").partition("::")[0]).is_file():
            raise ValueError("no such test")
        return
    if "{" not in source and ".json: " in source:
        source = "{" + source + "}"
    filled = re.sub(r"\{([^}]*)\}", lambda key: f"({lookup(results, key[1])!r})", source)
    value = _evaluate(ast.parse(filled.strip(), mode="eval").body)
    shown = Decimal(figure.replace(",", "").replace("−", "-").lstrip("±+"))
    half = 0.5 * 10.0 ** int(shown.as_tuple().exponent)
    if abs(value - float(shown)) > half * (1 + 1e-9):
        raise ValueError(f"it is {value:.6g}")


def _evaluate(node: ast.expr) -> float:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return float(_OPERATORS[type(node.op)](_evaluate(node.left), _evaluate(node.right)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    raise ValueError("no key and no arithmetic")


def _measured(text: str) -> Iterator[str]:
    """Figures that ask for a source: by their unit, their decimals, or their column."""
    lines = text.splitlines()
    ruler = next((line for line in lines if re.fullmatch(r"\|[-:|]+\|", line.strip())), None)
    if ruler is not None:
        right = [column.endswith(":") for column in ruler.strip().strip("|").split("|")]
        rows = lines[lines.index(ruler) + 1 :]
        for row in (row for row in rows if row.startswith("|")):
            cells = row.strip().strip("|").split("|")
            for is_figure, cell in zip(right, cells, strict=True):
                yield from (re.findall(NUMBER, cell) if is_figure else _loose(cell))
        return
    yield from _loose(text)


def _loose(text: str) -> Iterator[str]:
    for found in _MEASURED.finditer(text):
        yield found[1] or found[2]
    for found in _SHARE.finditer(text):
        yield from found.groups()


def _plain(text: str) -> str:
    text = re.sub(r"`[^`]*`", "", text)
    text = re.sub(rf"{_VERSION}(?! ?{_UNIT})", "", text)
    return re.sub(r"\]\([^)]*\)", "]", text)
