"""`python -m benchmarks NAME`: one file per benchmark."""

import click

from benchmarks.capture import capture_benchmark
from benchmarks.decoder import decoder_benchmark
from benchmarks.levels import levels
from benchmarks.montecarlo import montecarlo
from benchmarks.optimal import optimal_benchmark
from benchmarks.risk import risk
from benchmarks.serving import serving_benchmark
from benchmarks.words import words_benchmark


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def group() -> None:
    """Measure speed, as ratios within one run, or errors of verdicts; as JSON with versions."""


group.add_command(montecarlo)
group.add_command(capture_benchmark)
group.add_command(decoder_benchmark)
group.add_command(levels)
group.add_command(words_benchmark)
group.add_command(risk)
group.add_command(optimal_benchmark)
group.add_command(serving_benchmark)

if __name__ == "__main__":
    group()
