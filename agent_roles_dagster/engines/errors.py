"""Why an engine can't be used. Each text says what to do."""


class JavaNotFound(RuntimeError):
    """There is no Java here that runs Apache Spark."""


class SailError(RuntimeError):
    """Sail can't be used."""
