"""Many days in one run: which days, each day's load, and how far the run is."""
