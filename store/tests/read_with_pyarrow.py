"""Reads a data directory with pyarrow and DuckDB, knowing nothing of Vesta but docs/formats.md.

Usage: read_with_pyarrow.py DATA_DIR [rollups]. Prints what it found as one JSON object; the Rust test compares it.
"""

import json
import sys

import duckdb
import pyarrow.dataset
import pyarrow.parquet

TABLES = ["samples", "series", "stacks", "frames", "binaries", "accounts"]


def with_pyarrow(data_dir):
    """Row counts of all tables and totals of samples, through hive partitioning."""
    found = {}
    everything = pyarrow.dataset.dataset(f"{data_dir}/segments", partitioning="hive", format="parquet",
                                         exclude_invalid_files=True)
    assert {"date", "segment"} <= set(everything.schema.names), everything.schema
    for name in TABLES:
        files = [f for f in everything.files if f.endswith(f"/{name}.parquet")]
        table = pyarrow.dataset.dataset(files, partitioning="hive", format="parquet",
                                        partition_base_dir=f"{data_dir}/segments").to_table()
        assert table.num_rows == sum(pyarrow.parquet.read_metadata(f).num_rows for f in files)
        found[f"{name}_rows"] = table.num_rows
        found[f"{name}_segments"] = len(set(table["segment"].to_pylist()))
        if name == "samples":
            rows = table.to_pylist()
            found["samples"] = sum(row["samples"] for row in rows)
            found["value"] = sum(row["value"] for row in rows)
            found["exact"] = sum(len(row["offsets_ms"]) for row in rows)
            found["exact_sum"] = sum(row["time"] + ms for row in rows for ms in row["offsets_ms"])
            found["cpu_sum"] = sum(cpu for row in rows for cpu in row["cpus"])
        if name == "series":
            found["labels"] = sorted(f"{key}={value}" for row in table.to_pylist() for key, value in row["labels"])
            found["hosts"] = sorted({row["host"] for row in table.to_pylist()})
    metadata = pyarrow.parquet.read_metadata(files[0]).metadata
    found["schema_version"] = metadata[b"vesta.schema_version"].decode()
    return found


def with_duckdb(data_dir):
    """Totals by process and by function, joined over the tables by segment and id."""
    db = duckdb.connect()
    for name in TABLES:
        db.execute(f"create view {name} as select * from "
                   f"read_parquet('{data_dir}/segments/*/*/{name}.parquet', hive_partitioning=true)")
    by_process = db.execute("""
        select coalesce(process, ''), sum(samples)::bigint, sum(samples * period)::bigint
        from samples join series using (date, segment, series) group by 1 order by 1""").fetchall()
    # Preorder: a stack's totals are those of the nodes from its own to the end of its subtree.
    by_root = db.execute("""
        select f.function, sum(s.samples)::bigint
        from stacks k join frames f using (segment, frame)
             join samples s on s.segment = k.segment and s.node >= k.node and s.node < k.node + k.subtree
        where k.depth = 1 group by 1 order by 1""").fetchall()
    lost = db.execute("select sum(value)::bigint from accounts where counter = 'lost_ring_full'").fetchone()[0]
    exact = db.execute("select sum(len(offsets_ms))::bigint from samples").fetchone()[0]
    return {"by_process": by_process, "by_root": by_root, "lost": lost, "exact": exact}


def rollups(data_dir):
    """Totals of the rollups; what functions used, by the files and worked out anew from the stacks of samples."""
    db = duckdb.connect()
    names = ["samples", "series", "stacks", "frames", "rollup_5m", "rollup_1h", "rollup_1d", "func_5m"]
    for name in names:
        db.execute(f"create view {name} as select * from "
                   f"read_parquet('{data_dir}/segments/*/*/{name}.parquet', hive_partitioning=true)")
    found = {}
    for name, step in [("samples", 1), ("rollup_5m", 300_000), ("rollup_1h", 3_600_000), ("rollup_1d", 86_400_000)]:
        found[name] = db.execute(f"select sum(samples)::bigint, sum(value)::bigint from {name}").fetchone()
        assert db.execute(f"select count(*) from {name} where time % {step} != 0").fetchone()[0] == 0
    stored = db.execute("""
        select event, unit, time, function, self_samples, self_value, total_samples, total_value
        from func_5m where function is not null order by all""").fetchall()
    # Each function once for each row, however often it is on the stack.
    db.execute("""
        create table rows as select row_number() over () as id, s.segment, s.node, s.samples, s.value, event, unit,
            time - time % 300000 as time from samples s join series using (date, segment, series)""")
    anew = db.execute("""
        with own as (select id, function from rows r join stacks k using (segment, node) join frames f using (segment, frame)),
        used as (select distinct id, function from rows r
            join stacks k on k.segment = r.segment and k.node <= r.node and r.node < k.node + k.subtree
            join frames f on f.segment = k.segment and f.frame = k.frame)
        select event, unit, time, function,
            sum(if(own.id is null, 0, samples))::bigint, sum(if(own.id is null, 0, value))::bigint,
            sum(samples)::bigint, sum(value)::bigint
        from used join rows using (id) left join own using (id, function)
        group by all order by all""").fetchall()
    found["functions"] = len(stored)
    found["functions_agree"] = stored == anew
    found["self"] = db.execute("select sum(self_samples)::bigint, sum(self_value)::bigint from func_5m").fetchone()
    return found


if __name__ == "__main__":
    if sys.argv[2:] == ["rollups"]:
        print(json.dumps(rollups(sys.argv[1])))
        sys.exit()
    print(json.dumps({"pyarrow": with_pyarrow(sys.argv[1]), "duckdb": with_duckdb(sys.argv[1])}))
