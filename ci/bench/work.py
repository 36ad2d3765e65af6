"""Keeps one CPU busy with the mix of an ordinary Python program, until it is killed.

Recursion, generators, dictionaries, sorting, regular expressions, JSON, exceptions, big numbers and compression:
interpreter frames of all kinds, and calls from C back into Python (sort keys, callbacks of re.sub).
"""

import json
import re
import zlib


def ackermann(m, n):
    if m == 0:
        return n + 1
    if n == 0:
        return ackermann(m - 1, 1)
    return ackermann(m - 1, ackermann(m, n - 1))


class Tree:
    def __init__(self, depth):
        self.children = [Tree(depth - 1) for _ in range(2)] if depth else []

    def walk(self):
        yield self
        for child in self.children:
            yield from child.walk()


def words(text):
    counts = {}
    for word in re.findall(r"[A-Za-z_]+", text):
        counts[word] = counts.get(word, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def failing(depth):
    if depth == 0:
        raise ValueError("the bottom")
    try:
        failing(depth - 1)
    finally:
        str(depth)


def once(text):
    ackermann(2, 40)
    nodes = sum(1 for _ in Tree(10).walk())
    ranking = words(text)
    again = json.loads(json.dumps({"nodes": nodes, "words": ranking}))
    re.sub(r"\b(\w)(\w*)", lambda match: match[1].upper() + match[2], text)
    try:
        failing(50)
    except ValueError:
        pass
    power = pow(3, 20_000) % (10**40)
    return len(zlib.compress(text.encode(), 9)), again["nodes"], power


if __name__ == "__main__":
    source = open(__file__, encoding="utf-8").read() * 40
    while True:
        once(source)
