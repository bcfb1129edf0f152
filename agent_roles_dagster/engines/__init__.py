"""Engines: what executes the Spark code of a run. Executors import this, so it imports nothing."""
