"""Celery with its Redis broker: celery_peer.py SOCKET JOBS RESULT.json"""
import os
import sys

import celery

import measure

CONCURRENCY = 8
app = celery.Celery("peer", broker="redis+socket://" + os.environ.get("PEER_SOCKET", ""))
app.conf.update(task_ignore_result=True, worker_send_task_events=False, broker_connection_retry_on_startup=True,
                worker_hijack_root_logger=False, task_acks_late=True)


@app.task(name="noop")
def noop(number):
    measure.ran(number)


def main():
    socket, jobs, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    app.conf.broker_url = "redis+socket://" + socket

    def workers():
        return [measure.start([sys.executable, "-m", "celery", "-A", "celery_peer", "worker", "--pool", "threads",
                               "--concurrency", str(CONCURRENCY), "--loglevel", "ERROR", "--without-gossip",
                               "--without-mingle", "--without-heartbeat"], PEER_SOCKET=socket)]

    result = measure.measure(lambda number: noop.delay(number), workers, jobs, os.path.dirname(path))
    result.update(version=celery.__version__, setup=f"threads, concurrency {CONCURRENCY}, acknowledged late")
    measure.write(path, result)


if __name__ == "__main__":
    main()
