"""The sensors. They discover and report; the automation and Dagster launch the runs.

https://docs.dagster.io/guides/automate/sensors
"""
