"""DuckDB's `GROUP BY node` over samples files, timed each time a line comes in: what a flame graph is measured against.

Arguments: a pattern of Parquet files, and the number of threads. Prints seconds and the sum of samples.
"""

import sys
import time

import duckdb

pattern, threads = sys.argv[1:]
connection = duckdb.connect()
connection.execute(f"SET threads = {int(threads)}")
query = "SELECT node, sum(samples) FROM read_parquet(?) GROUP BY node"
for _ in sys.stdin:
    begin = time.perf_counter()
    rows = connection.execute(query, [pattern]).fetchnumpy()
    seconds = time.perf_counter() - begin
    print(seconds, int(rows["sum(samples)"].sum()), flush=True)
