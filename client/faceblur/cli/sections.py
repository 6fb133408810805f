"""Help in which the options of a command stand in named sections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from faceblur.cli.sound import with_spans

SECTIONS: Final = {
    "What to mask": "--threshold --size --tiles --min-face --always --never --moving --moving-hold "
    "--hide --spare --boxes --keep-visible --only",
    "How it looks": "--mask --shape --expand --feather --colour --mask-image",
    "Video": "--audio --cover --cover-before --cover-after --cover-gap --detect-every --fps "
    "--lookahead --on-failure --hardware-decoding --interval --encoder --keep-subtitles",
    "Speed and server": "--server --in-process --model --workers --deadline --transport "
    "--tls --tls-ca --tls-cert --tls-key",
    "Many machines": "--on --shard --cpus-per-worker --workers-per-gpu",
    "Output": "--quality --keep-metadata --json --audit --again --quiet --verbose --help",
}
"""Title and options, in the order of the help; a command shows those of them that it has."""

REST: Final = "Other options"

COLUMN: Final = 30
"""What click makes of the first column at most."""


class SectionedCommand(click.Command):
    """A command whose help shows its options by sections, each where it is named first."""

    sections: Mapping[str, str] = SECTIONS

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take a value of two words for one."""
        return super().parse_args(ctx, with_spans(self.get_params(ctx), args))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, the second columns of all of them in line."""
        left = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        rows: dict[str, list[tuple[str, str]]] = {}
        for title, names in (*self.sections.items(), (REST, "")):
            known = {opt: param for param in left for opt in param.opts}
            chosen = [known[name] for name in names.split() if name in known] if names else left
            left = [param for param in left if param not in chosen]
            records = [param.get_help_record(ctx) for param in chosen]
            rows[title] = [record for record in records if record is not None]
        width = max(len(term) for section in rows.values() for term, _ in section)
        width = min(width, COLUMN)
        for title, section in rows.items():
            if section:
                with formatter.section(title):
                    formatter.write_dl([(term.ljust(width), text) for term, text in section])


def sectioned(
    title: str, names: str, others: Mapping[str, str] = SECTIONS
) -> type[SectionedCommand]:
    """A kind of command with one section, a title and its options, before the others."""
    return type("_Command", (SectionedCommand,), {"sections": {title: names, **others}})
