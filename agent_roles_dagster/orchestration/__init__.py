"""What Dagster sees: assets, checks, jobs, sensors, partitions, and what they report."""
