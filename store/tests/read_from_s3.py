"""An S3 server (moto) and readers of what is in it, knowing nothing of Vesta but docs/formats.md.

Starts the server with an empty bucket and prints its address. Then, for each line `read PREFIX` on standard input,
prints what pyarrow, polars and DuckDB find there as one line of JSON. Ends with standard input.
"""

import json
import logging
import sys

import boto3
import duckdb
import polars
import pyarrow.dataset
import pyarrow.fs
from moto.server import ThreadedMotoServer

BUCKET = "profiles"
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


def read(address, prefix):
    """Totals of samples by process, from each reader; merged segments leave out those that they replace."""
    options = {**KEYS, "aws_endpoint_url": address, "aws_region": "us-east-1", "aws_allow_http": "true"}
    folder = f"{BUCKET}/{prefix}/segments"
    files = pyarrow.fs.S3FileSystem(access_key="test", secret_key="test", scheme="http",
                                    endpoint_override=address.removeprefix("http://"), region="us-east-1")
    everything = pyarrow.dataset.dataset(folder, filesystem=files, partitioning="hive", format="parquet",
                                         exclude_invalid_files=True)
    tables = {}
    for name in ["samples", "series"]:
        names = [f for f in everything.files if f.endswith(f"/{name}.parquet")]
        tables[name] = pyarrow.dataset.dataset(names, filesystem=files, partitioning="hive", format="parquet",
                                               partition_base_dir=folder).to_table()
    found = {"pyarrow": sum(tables["samples"]["samples"].to_pylist())}
    found["segments"] = len(set(tables["samples"]["segment"].to_pylist()))
    lazily = [polars.scan_parquet(f"s3://{folder}/*/*/{name}.parquet", hive_partitioning=True, storage_options=options)
              for name in ["samples", "series"]]
    by_process = lazily[0].join(lazily[1], on=["segment", "series"]).group_by("process").agg(polars.col("samples").sum())
    found["polars"] = sorted(by_process.collect().rows())
    # DuckDB's own client for S3 is an extension that is downloaded; without it, it is given what pyarrow read.
    samples, series = tables["samples"], tables["series"]
    found["duckdb"] = duckdb.sql("""
        select process, sum(samples)::bigint from samples join series using (segment, series)
        group by 1 order by 1""").fetchall()
    del samples, series
    return found


if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=address, region_name="us-east-1", **KEYS).create_bucket(Bucket=BUCKET)
    print(address, flush=True)
    for line in sys.stdin:
        print(json.dumps(read(address, line.split()[1])), flush=True)
    server.stop()
