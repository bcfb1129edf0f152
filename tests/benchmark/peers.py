"""The same two days by other means, each as a command of its own: what an expert would write.

    python -m tests.benchmark.peers <peer> <day> <landing> <server URL>

`floor-parse` and `floor-copy` are no solutions but bounds: whoever reads the dump and stores its
rows can't do less. `first-design` is the design that this project started from, `dlt` and `duckdb`
are what people would pick instead.
"""

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import psycopg
import pyarrow as pa

from agent_roles_dagster.postgres.arrow import ArrowConnection

DAYS = {"day1": "2026-03-01 06:00", "day2": "2026-03-02 06:00"}
JDBC_DRIVER = Path("/usr/share/java/postgresql.jar")  # Debian's libpostgresql-jdbc-java
_CORES = os.cpu_count() or 1


def execute(url: str, *statements: str) -> None:
    """Run SQL statements, each in a transaction of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def floor_parse(day: str, landing: Path, url: str) -> None:
    """Parse the dump, typed, on all cores, and forget it."""
    with ProcessPoolExecutor(_CORES) as pool:
        print(sum(pool.map(_entries, sorted((landing / day).glob("page-*.json")))))


def _entries(file: Path) -> int:
    import msgspec

    class Entry(msgspec.Struct):
        id: int | str

    class Record(msgspec.Struct):
        id: int
        agents: list[Entry] = []
        role_ids: list[int | str] = []

    class Document(msgspec.Struct):
        roles: list[Record] = []
        agents: list[Record] = []

    document = msgspec.json.decode(file.read_bytes(), type=Document)
    records = document.roles or document.agents
    return sum(len(record.agents) + len(record.role_ids) for record in records)


def floor_copy(day: str, landing: Path, url: str) -> None:
    """COPY the rows that `agent-roles` staged for the day, in two streams, then index them."""
    columns = "agent_id, role_id, status, sync_day, source, ingested_at"
    rows = pa.ipc.open_file(landing / f"{day}.arrow").read_all()
    execute(url, f"DROP TABLE IF EXISTS floor; CREATE TABLE floor AS SELECT {columns}"
            " FROM stg_agent_roles LIMIT 0")  # fmt: skip

    def copy(part: pa.Table) -> None:
        with ArrowConnection(url) as connection:
            connection.ingest("public", "floor", part)
            connection.commit()

    half = -(-len(rows) // 2)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(copy, (rows.slice(0, half), rows.slice(half))))
    execute(url, "CREATE INDEX ON floor (agent_id, role_id)")


def save_staged(landing: Path, day: str, url: str) -> None:
    """Keep the staged rows of a day for `floor_copy`."""
    with ArrowConnection(url) as connection:
        batches = list(connection.read(f"SELECT * FROM stg_agent_roles WHERE sync_day = '{day}'"))
    with pa.ipc.new_file(landing / f"{day}.arrow", batches[0].schema) as file:
        for batch in batches:
            file.write_batch(batch)


def first_design(day: str, landing: Path, url: str) -> None:
    """Spark to staging by JDBC, then INSERT ... ON CONFLICT of everything staged."""
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as F

    parts = psycopg.conninfo.conninfo_to_dict(url)
    jdbc = (
        f"jdbc:postgresql://{parts['host']}:{parts.get('port', 5432)}/{parts['dbname']}"
        f"?user={parts['user']}&password={quote(str(parts.get('password', '')))}"
        "&reWriteBatchedInserts=true"
    )
    spark = (
        SparkSession.builder.master("local[*]")
        .config("spark.ui.enabled", "false")
        .config("spark.jars", str(JDBC_DRIVER))
        .config("spark.driver.memory", "4g")
        .config("spark.sql.shuffle.partitions", "8")
        .getOrCreate()
    )
    options = {"url": jdbc, "dbtable": "first_staging", "driver": "org.postgresql.Driver"}
    entry = "struct<id: string>"
    dump = spark.read.schema(
        f"roles array<struct<id: bigint, agents: array<{entry}>>>,"
        " agents array<struct<id: bigint, role_ids: array<string>>>"
    ).json(str(landing / day / "page-*.json"))
    by_role = dump.select(F.explode("roles").alias("role")).select(
        F.explode("role.agents.id").alias("agent"), F.col("role.id").alias("role_id")
    )
    by_agent = dump.select(F.explode("agents").alias("agent")).select(
        F.explode("agent.role_ids").alias("role"), F.col("agent.id").alias("agent_id")
    )
    now = (
        by_role.select(F.col("agent").try_cast("bigint").alias("agent_id"), "role_id")
        .unionByName(by_agent.select("agent_id", F.col("role").try_cast("bigint").alias("role_id")))
        .dropna()
        .dropDuplicates()
    )
    execute(
        url,
        "CREATE TABLE IF NOT EXISTS first_staging (agent_id bigint, role_id bigint, status text,"
        " sync_day text, source text, ingested_at timestamp)",
        "CREATE TABLE IF NOT EXISTS first_mapping (agent_id bigint, role_id bigint, status text,"
        " assigned_at timestamp, removed_at timestamp, PRIMARY KEY (agent_id, role_id))",
        f"DELETE FROM first_staging WHERE sync_day = '{day}'",
    )
    with psycopg.connect(url) as connection:
        query = "SELECT coalesce(min(role_id), 0), coalesce(max(role_id), 0) + 1 FROM first_staging"
        lowest, highest = connection.execute(query).fetchone() or (0, 1)
    before = (
        spark.read.format("jdbc")
        .options(**options)
        .options(partitionColumn="role_id", lowerBound=lowest, upperBound=highest)
        .options(numPartitions=str(_CORES), fetchsize="10000")
        .load()
        .where((F.col("sync_day") == "day1") & (F.col("status") == "assigned"))
        .select("agent_id", "role_id")
    )
    staged = now.withColumn("status", F.lit("assigned"))
    if day != "day1":
        gone = before.join(now, ["agent_id", "role_id"], "left_anti")
        staged = staged.unionByName(gone.withColumn("status", F.lit("removed")))
    staged.select(
        "*",
        F.lit(day).alias("sync_day"),
        F.lit("api").alias("source"),
        F.lit(DAYS[day]).cast("timestamp").alias("ingested_at"),
    ).coalesce(_CORES).write.format("jdbc").options(**options).option("batchsize", 10_000).mode(
        "append"
    ).save()
    execute(
        url,
        f"""
        INSERT INTO first_mapping
        SELECT agent_id, role_id, status,
            CASE WHEN status = 'assigned' THEN ingested_at END,
            CASE WHEN status = 'removed' THEN ingested_at END
        FROM first_staging WHERE sync_day = '{day}'
        ON CONFLICT (agent_id, role_id) DO UPDATE SET status = excluded.status,
            assigned_at = coalesce(first_mapping.assigned_at, excluded.assigned_at),
            removed_at = excluded.removed_at
        """,
    )


def dlt_scd2(day: str, landing: Path, url: str) -> None:
    """dlt's merge with the strategy scd2, of pairs that are flat already."""
    import dlt
    from dlt.destinations import postgres

    disposition = {"disposition": "merge", "strategy": "scd2", "row_version_column_name": "version"}

    @dlt.resource(name="pairs", write_disposition=disposition)  # type: ignore[call-overload,untyped-decorator]
    def pairs() -> Iterator[pa.Table]:
        import pyarrow.compute as pc

        for table in _flat(day, landing):
            ids = [table[name].cast(pa.string()) for name in ("agent_id", "role_id")]
            yield table.append_column("version", pc.binary_join_element_wise(*ids, "-"))

    password = psycopg.conninfo.conninfo_to_dict(url).get("password")
    pipeline = dlt.pipeline(
        "benchmark",
        # It wants a password, whether the server does or not.
        destination=postgres(url if password else url.replace("@", ":none@", 1)),
        dataset_name="dlt_pairs",
        pipelines_dir=str(landing / "dlt"),
    )
    pipeline.run(
        pairs(), loader_file_format="csv", refresh="drop_sources" if day == "day1" else None
    )


def _flat(day: str, landing: Path) -> Iterator[pa.Table]:
    """Distinct valid pairs of the day, by DuckDB."""
    import duckdb

    yield from duckdb_pairs(duckdb.connect(), day, landing).to_arrow_table().to_batches(1 << 20)


def duckdb_pairs(connection, day: str, landing: Path):  # type: ignore[no-untyped-def]
    """The distinct valid pairs of a day, as a relation of DuckDB's."""
    files = str(landing / day / "page-*.json")
    return connection.sql(
        f"""
        WITH document AS (
            FROM read_json('{files}', format = 'unstructured', maximum_object_size = 2147483647,
                columns = {{
                    roles: 'STRUCT(id BIGINT, agents STRUCT(id VARCHAR)[])[]',
                    agents: 'STRUCT(id BIGINT, role_ids VARCHAR[])[]'}})
        ), by_role AS (
            SELECT role.id AS role_id, unnest(role.agents).id AS agent
            FROM (SELECT unnest(roles) AS role FROM document)
        ), by_agent AS (
            SELECT agent.id AS agent_id, unnest(agent.role_ids) AS role
            FROM (SELECT unnest(agents) AS agent FROM document)
        )
        SELECT DISTINCT agent_id, role_id FROM (
            SELECT try_cast(agent AS BIGINT) AS agent_id, role_id FROM by_role
            UNION ALL SELECT agent_id, try_cast(role AS BIGINT) FROM by_agent)
        WHERE agent_id IS NOT NULL AND role_id IS NOT NULL
        """
    )


def duckdb_script(day: str, landing: Path, url: str) -> None:
    """One process: DuckDB reads and compares, ADBC copies, only changes reach the mapping."""
    import duckdb

    execute(
        url,
        "CREATE TABLE IF NOT EXISTS duck_staging (agent_id bigint, role_id bigint, status text,"
        " sync_day text, source text, ingested_at timestamp)",
        "CREATE TABLE IF NOT EXISTS duck_mapping (agent_id bigint, role_id bigint, status text,"
        " assigned_at timestamp, removed_at timestamp, PRIMARY KEY (agent_id, role_id))",
        "CREATE TABLE IF NOT EXISTS duck_changes (agent_id bigint, role_id bigint, status text)",
        "TRUNCATE duck_changes",
        f"DELETE FROM duck_staging WHERE sync_day = '{day}'",
    )
    duck = duckdb.connect()
    now = duckdb_pairs(duck, day, landing).to_arrow_table()
    duck.register("now", now)
    with ArrowConnection(url) as connection:
        query = "SELECT agent_id, role_id FROM duck_staging WHERE sync_day = 'day1'"
        previous = list(connection.read(query + " AND status = 'assigned'"))
        before = pa.Table.from_batches(previous, now.schema)
        duck.register("before", before)
        staged = f"'{day}' AS sync_day, 'api' AS source, TIMESTAMP '{DAYS[day]}' AS ingested_at"
        removed = duck.sql("FROM before ANTI JOIN now USING (agent_id, role_id)").to_arrow_table()
        added = duck.sql("FROM now ANTI JOIN before USING (agent_id, role_id)").to_arrow_table()
        for status, table in (("assigned", now), ("removed", removed)):
            duck.register("part", table)
            rows = duck.sql(f"SELECT agent_id, role_id, '{status}' AS status, {staged} FROM part")
            connection.ingest("public", "duck_staging", rows.to_arrow_table())
        for status, table in (("assigned", added), ("removed", removed)):
            duck.register("part", table)
            rows = duck.sql(f"SELECT agent_id, role_id, '{status}' AS status FROM part")
            connection.ingest("public", "duck_changes", rows.to_arrow_table())
        connection.commit()
    execute(
        url,
        f"""
        INSERT INTO duck_mapping
        SELECT agent_id, role_id, status, CASE WHEN status = 'assigned' THEN at END,
            CASE WHEN status = 'removed' THEN at END
        FROM (SELECT *, TIMESTAMP '{DAYS[day]}' AS at FROM duck_changes) AS changes
        ON CONFLICT (agent_id, role_id) DO UPDATE SET status = excluded.status,
            assigned_at = coalesce(excluded.assigned_at, duck_mapping.assigned_at),
            removed_at = excluded.removed_at
        """,
    )


PEERS: dict[str, Callable[[str, Path, str], None]] = {
    "floor-parse": floor_parse,
    "floor-copy": floor_copy,
    "first-design": first_design,
    "dlt": dlt_scd2,
    "duckdb": duckdb_script,
}

if __name__ == "__main__":
    PEERS[sys.argv[1]](sys.argv[2], Path(sys.argv[3]), sys.argv[4])
