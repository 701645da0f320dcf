"""What wants a GPU, as one script: see run.sh."""
