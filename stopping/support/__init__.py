"""What every room stands on: documents, files, finished parts, workers, statistics."""
