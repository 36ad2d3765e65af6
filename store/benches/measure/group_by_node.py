"""DuckDB's `GROUP BY node` over samples files, timed each time a line comes in: what a flame graph is measured against.

Arguments: a pattern of Parquet files, and the number of threads. Prints seconds and the sum of samples.
"""

import sys
import time

import duckdb

pattern, threads = sys.argv[1:]
connection = duckdb.connect()
connection.execute(f"SET threads = {int(threads)}")
# Summed up, so that no time goes into handing hundreds of thousands of rows to Python.
query = """
    SELECT sum(samples) FROM (SELECT node, sum(samples) AS samples FROM read_parquet(?) GROUP BY node)
"""
for _ in sys.stdin:
    begin = time.perf_counter()
    (samples,) = connection.execute(query, [pattern]).fetchone()
    print(time.perf_counter() - begin, samples, flush=True)
