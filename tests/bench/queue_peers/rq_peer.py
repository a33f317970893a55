"""RQ: rq_peer.py SOCKET JOBS RESULT.json"""
import os
import sys

import redis
import rq

import measure

WORKERS = 2  # processes, which run tasks without a fork: RQ's fastest way


def main():
    socket, jobs, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    queue = rq.Queue("bench", connection=redis.Redis(unix_socket_path=socket))

    def workers():
        return [measure.start([sys.executable, "-m", "rq.cli", "worker", "--url", "unix://" + socket, "--worker-class",
                               "rq.SimpleWorker", "--logging_level", "ERROR", "bench"]) for _ in range(WORKERS)]

    result = measure.measure(lambda number: queue.enqueue("measure.ran", number, result_ttl=0), workers, jobs,
                             os.path.dirname(path))
    result.update(version=rq.__version__, setup=f"SimpleWorker, {WORKERS} processes")
    measure.write(path, result)


if __name__ == "__main__":
    main()
