"""What the peers' scripts share: the moments at which tasks ran, and the figures made from them.

A task appends its number and the time (CLOCK_MONOTONIC, one clock for all processes) as a line to a file that every
worker process opens for appending: one write() each, nothing that slows the peer down.
"""
import json
import os
import subprocess
import sys
import time

_file = None


def ran(number):
    """Called by a task."""
    global _file
    if _file is None:
        _file = os.open(os.environ["PEER_LOG"], os.O_WRONLY | os.O_APPEND)
    os.write(_file, b"%d %d\n" % (number, time.monotonic_ns()))


class Runs:
    """The lines so far, read as they come."""

    def __init__(self, path):
        os.environ["PEER_LOG"] = path
        self.file = open(path, "w+b")
        self.rest = b""
        self.at_ns = {}
        self.count = 0

    def read(self):
        lines = (self.rest + self.file.read()).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            number, at_ns = line.split()
            self.at_ns.setdefault(int(number), int(at_ns))
            self.count += 1

    def wait(self, count, seconds, pause=0.002):
        end = time.monotonic() + seconds
        while True:
            self.read()
            if self.count >= count:
                return
            if time.monotonic() > end:
                raise SystemExit(f"{self.count} of {count} tasks ran within {seconds} s")
            time.sleep(pause)


def percentiles(values_ns):
    values = sorted(values_ns)
    return {"p50": round(values[len(values) // 2] / 1e6, 3), "p99": round(values[len(values) * 99 // 100] / 1e6, 3),
            "samples": len(values)}


def start(command, **environment):
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, cwd=os.path.dirname(__file__),
                            env=dict(os.environ, **environment))


def measure(enqueue, start_workers, jobs, folder, samples=200):
    """enqueue(number) puts a no-op task into the queue; start_workers() returns its processes.

    The jobs are enqueued first, then the workers are started on the backlog; then, one at a time with idle workers, how
    long a task takes from the call of enqueue() to its first line.
    """
    runs = Runs(os.path.join(folder, "runs"))
    begin = time.monotonic()
    for number in range(jobs):
        enqueue(number)
    enqueued = jobs / (time.monotonic() - begin)
    workers = start_workers()
    try:
        runs.wait(jobs, 240)
        span_ns = max(runs.at_ns.values()) - min(runs.at_ns.values())
        time.sleep(0.5)
        delays = []
        for number in range(jobs, jobs + samples):
            sent_ns = time.monotonic_ns()
            enqueue(number)
            runs.wait(number + 1, 30, pause=0.0005)
            delays.append(runs.at_ns[number] - sent_ns)
            time.sleep(0.005)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            try:
                worker.wait(10)
            except subprocess.TimeoutExpired:
                worker.kill()
    return {"jobs": jobs, "submit_per_second": round(enqueued, 1), "jobs_per_second": round((jobs - 1) * 1e9 / span_ns, 1),
            "dispatch_ms": percentiles(delays), "ran_twice": runs.count - len(runs.at_ns)}


def write(path, result):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(result, file)
