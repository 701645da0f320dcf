"""`stopping audit means`: what a table of means by layer can tell of A0, without any trace."""

from pathlib import Path

import click

from empirical.analysis.audit.means import audit_means, read_means
from empirical.commands.options import PATH, window_option
from empirical.data import public_means
from empirical.figures.means import draw_means
from stopping.cli.options import figure_option
from stopping.cli.reply import Reply, with_json
from stopping.figures.theme import saving
from stopping.support.files import FIGURE, require_writable


@click.command()
@click.argument("file", required=False, type=PATH)
@window_option
@figure_option("the gaps")
@with_json()
def means(file: Path | None, K: int, figure: Path | None) -> Reply:
    """Audit a table of means by layer in place of traces: what means can tell of A0.

    The columns of FILE (CSV) are model, variant (base, instruct), lens (raw, ...), tokens, layer (0
    first), mean_entropy and mean_kl_final (nats), and, if there, kind and last_layer. Without FILE,
    public means of six model families of 4 to 16 billion parameters are audited.

    \b
    Examples:
      stopping audit means                         public means of larger models
      stopping audit means my.csv --figure m.svg   own table of means
    """
    path = public_means() if file is None else file
    require_writable((figure, FIGURE), inputs=[path])
    read = read_means(path)
    result = audit_means(read, K)
    return Reply(vars(result), result, [(figure, saving(draw_means, read))])
