"""What clusterd costs: one command per figure, `python -m bench.NAME`, each beside a peer in the same run."""
