"""`python -m benchmarks NAME`: one file per benchmark."""

import click

from benchmarks.capture import capture_benchmark
from benchmarks.decoder import decoder_benchmark
from benchmarks.montecarlo import montecarlo


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def group() -> None:
    """Measure speed: ratios within one run, as JSON with machine and versions."""


group.add_command(montecarlo)
group.add_command(capture_benchmark)
group.add_command(decoder_benchmark)

if __name__ == "__main__":
    group()
