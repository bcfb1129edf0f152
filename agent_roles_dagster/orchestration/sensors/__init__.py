"""The sensors. They discover and tell; the automation and Dagster launch the runs.

https://docs.dagster.io/guides/automate/sensors
"""
