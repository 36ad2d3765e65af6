"""Reads a data directory with pyarrow, DuckDB and polars, knowing nothing of Vesta but docs/formats.md.

Usage: other_readers.py DATA_DIR [rollups|tables]. Prints what it found as one JSON object; the Rust test compares it.
"""

import glob
import json
import sys

import duckdb
import polars
import pyarrow.dataset
import pyarrow.parquet

TABLES = ["samples", "series", "stacks", "frames", "binaries", "accounts"]
MERGED = ["rollup_5m", "rollup_1h", "rollup_1d", "func_5m"]


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
        found[name] = db.execute(f"select sum(samples)::bigint, sum(coalesce(value, samples * period))::bigint "
                                 f"from {name} join series using (date, segment, series)").fetchone()
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


def plain(value):
    """A value as all readers agree to have it: a map is pairs."""
    if isinstance(value, dict):
        return sorted(value.items())
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return sorted((entry["key"], entry["value"]) for entry in value)
    return sorted(value) if isinstance(value, list) and value and isinstance(value[0], tuple) else value


def rows_of(columns):
    """Rows in an order of their own, without the date, which is as good as the segment."""
    names = sorted(set(columns) - {"date"})
    rows = zip(*[[plain(value) for value in columns[name]] for name in names])
    return names, sorted(rows, key=repr)


def tables(data_dir):
    """Every table by every reader, value by value, and its totals."""
    found = {}
    for name in TABLES + MERGED:
        pattern = f"{data_dir}/segments/*/*/{name}.parquet"
        files = sorted(glob.glob(pattern))
        with_arrow = pyarrow.dataset.dataset(files, partitioning="hive", format="parquet",
                                             partition_base_dir=f"{data_dir}/segments").to_table()
        with_polars = polars.scan_parquet(pattern, hive_partitioning=True).collect()
        with_duckdb = duckdb.sql(f"select * from read_parquet('{pattern}', hive_partitioning=true)")
        readers = {
            "pyarrow": with_arrow.to_pydict(),
            "polars": with_polars.to_dict(as_series=False),
            "duckdb": dict(zip(with_duckdb.columns, zip(*with_duckdb.fetchall()))),
        }
        rows = {reader: rows_of(columns) for reader, columns in readers.items()}
        for reader in readers:
            # One difference says more than two lists of thousands of rows.
            assert rows[reader][0] == rows["pyarrow"][0], (name, reader, rows[reader][0])
            for mine, theirs in zip(rows[reader][1], rows["pyarrow"][1], strict=True):
                assert mine == theirs, (name, reader, mine, theirs)
        columns = readers["polars"]
        if name == "series":
            keys = zip(columns["segment"], columns["series"])
            periods = dict(zip(keys, columns["period"]))
        if name.startswith("rollup"):
            # What is not said is the samples times the series' period.
            rows = zip(columns["value"], columns["samples"], columns["segment"], columns["series"])
            columns["value"] = [samples * periods[segment, series] if value is None else value
                                for value, samples, segment, series in rows]
        found[name] = {"rows": with_polars.height, "segments": len(set(columns["segment"]))}
        for column, values in columns.items():
            known = [value for value in values if value is not None]
            if known and all(isinstance(value, int) for value in known):
                found[name][column] = sum(known)
            elif column in ("offsets_ms", "cpus"):
                found[name][column] = [sum(map(len, known)), sum(map(sum, known))]
    return found


def with_polars(data_dir):
    """Totals by process and by outermost function, as DuckDB works them out."""
    def scan(name):
        return polars.scan_parquet(f"{data_dir}/segments/*/*/{name}.parquet", hive_partitioning=True)

    samples = scan("samples")
    totals = polars.col("samples").sum(), (polars.col("samples") * polars.col("period")).sum().alias("value")
    by_process = samples.join(scan("series"), on=["segment", "series"]).with_columns(
        polars.col("process").fill_null("")).group_by("process").agg(*totals).sort("process").collect()
    # Where a stack's outermost frame is: the node of depth 1 at or before its own.
    roots = scan("stacks").filter(polars.col("depth") == 1).join(scan("frames"), on=["segment", "frame"])
    roots = roots.select("segment", root="node", end=polars.col("node") + polars.col("subtree"), function="function")
    by_root = samples.join(roots, on="segment").filter(
        (polars.col("node") >= polars.col("root")) & (polars.col("node") < polars.col("end"))
    ).group_by("function").agg(polars.col("samples").sum()).sort("function").collect()
    lost = scan("accounts").filter(polars.col("counter") == "lost_ring_full").select(polars.col("value").sum())
    exact = samples.select(polars.col("offsets_ms").list.len().sum())
    return {"by_process": by_process.rows(), "by_root": by_root.rows(), "lost": lost.collect().item(),
            "exact": exact.collect().item()}


if __name__ == "__main__":
    if sys.argv[2:] == ["tables"]:
        print(json.dumps(tables(sys.argv[1])))
        sys.exit()
    if sys.argv[2:] == ["rollups"]:
        print(json.dumps(rollups(sys.argv[1])))
        sys.exit()
    print(json.dumps({"pyarrow": with_pyarrow(sys.argv[1]), "duckdb": with_duckdb(sys.argv[1]),
                      "polars": with_polars(sys.argv[1])}))
