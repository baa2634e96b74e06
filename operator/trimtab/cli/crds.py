"""`trimtab crds`: write the CustomResourceDefinitions, or check that the written ones are current."""

from __future__ import annotations

from pathlib import Path

import click
import yaml

from trimtab.api.crds import crds as definitions
from trimtab.cli.printing import echo_json, output_option

_HEADER = "# Written by `trimtab crds` from the API models; change those instead.\n"


class _Plain(yaml.SafeDumper):
    """YAML without anchors, which people and diffs read badly."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when a file is stale.")
@click.option(
    "--directory", type=click.Path(path_type=Path), default=Path("crds"), show_default=True, help="Where the files are."
)
@output_option
def crds(check: bool, directory: Path, output: str) -> None:
    """Write the CustomResourceDefinitions as YAML."""
    stale, written = [], []
    for name, crd in definitions().items():
        path = directory / name
        text = _HEADER + yaml.dump(crd, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)
        if check:
            if not path.is_file() or path.read_text() != text:
                stale.append(str(path))
        else:
            directory.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            written.append(str(path))
    if output == "json":
        echo_json({"written": written, "stale": stale})
    else:
        click.echo("".join(f"{path}\n" for path in written), nl=False)
    if stale:
        raise click.ClickException(f"{', '.join(stale)} stale; run `trimtab crds` and commit the result")
