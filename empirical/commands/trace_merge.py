"""`stopping trace merge`: the shards of one capture in, its trace file out."""

from pathlib import Path
from typing import Any

import click

from empirical.commands.options import storage_option
from empirical.provenance import FORMAT
from empirical.traces.files import Provenance, Traces, merge_traces, read_traces, write_traces
from stopping.cli.options import FILE
from stopping.cli.progress import progress
from stopping.cli.reply import Reply, with_json
from stopping.errors import UserError
from stopping.support.files import require_writable
from stopping.support.tables import count


@click.command(
    epilog="""\b
Examples:
  stopping trace merge whole.parquet whole.shard-*.parquet
  stopping trace merge whole.parquet whole.shard-1-of-2.parquet whole.shard-2-of-2.parquet --json
"""
)
@click.argument("out", type=FILE)
@click.argument("shards", nargs=-1, required=True, type=FILE)
@storage_option
@click.option("--fresh", is_flag=True, help="Replace OUT if it is there.")
@with_json()
def merge(out: Path, shards: tuple[Path, ...], storage: Any, fresh: bool) -> Reply:
    """Join the shards of one capture (`stopping trace --shard`) into the trace file OUT.

    All shards of the run must be there, each once. The result is what a single process would
    have written, bit for bit. The shards stay as they are.
    """
    if out.exists() and not fresh:
        raise UserError(f"{out}: exists already; name another file, or replace it with --fresh")
    require_writable((out, FORMAT.kind), inputs=shards)
    with progress() as bar:
        parts = [read_traces(path) for path in bar.track(shards, description="shards")]
    require_all_shards(shards, parts)
    whole = merge_traces(parts)
    written = write_traces(out, whole, storage)
    summary = {"file": out.name, "tokens": len(whole), "shards": len(parts), "provenance": written}
    tokens, prompts = count(len(whole), "token"), count(len(set(whole.prompt)), "prompt")
    return Reply(summary, f"{out.name}: {tokens} of {prompts}, {count(len(parts), 'shard')}")


def require_all_shards(paths: tuple[Path, ...], parts: list[Traces]) -> None:
    """Raise a UserError unless the files are the shards of one run, all of them, each once."""
    first = parts[0].provenance
    seen: dict[int, Path] = {}
    for path, part in zip(paths, parts, strict=True):
        made = part.provenance
        if made.shard is None or made.shards is None:
            raise UserError(f"{path}: no shard but a whole trace file, there is nothing to merge")
        if not made.same_source(first):
            raise UserError(
                f"{path}: from another run than {paths[0]} ({_differences(made, first)})"
            )
        if made.shard in seen:
            raise UserError(
                f"{path}: shard {made.shard} of {made.shards} again, as {seen[made.shard]}"
            )
        seen[made.shard] = path
    expected = first.shards or 0
    if missing := [str(i) for i in range(1, expected + 1) if i not in seen]:
        raise UserError(
            f"merge: of {expected} shards, {', '.join(missing)} missing; name all files"
        )


def _differences(one: Provenance, other: Provenance) -> str:
    return ", ".join(name for name, value in one.run.items() if value != other.run[name])
