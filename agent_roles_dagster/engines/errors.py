"""Why an engine can't be used; each text says what to do. Nothing is imported here."""


class JavaNotFound(RuntimeError):
    """There is no Java that Apache Spark runs on."""


class SailError(RuntimeError):
    """Sail can't be used."""
