#!/usr/bin/env python3
# reverse.py: the least a worker needs: serves kind "reverse", whose jobs take no time.
#   reverse.py ENDPOINT NAME
import sys, time, uuid
import msgpack, zmq


def main(endpoint, name):
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.connect(endpoint)
    boot, beat, next_beat, heard, waiting = uuid.uuid4().hex, 1.0, 0, -1e9, {}

    def send(type, body, id=0):
        header = {"v": 1, "type": type, "id": id}
        socket.send_multipart([msgpack.packb(header), msgpack.packb(body)])

    def do(job):  # its token is the answer's id, too
        text = str(job.get("body", {}).get("text", ""))
        waiting[job["token"]] = {"worker": name, "job": job["job"], "token": job["token"],
                                 "outcome": "succeeded", "result": {"text": text[::-1]}}
        send("job.finish", waiting[job["token"]], job["token"])

    while True:
        now = time.monotonic()
        if now >= next_beat:
            next_beat = now + beat
            holds = [{"job": job["job"], "token": token} for token, job in waiting.items()]
            if now - heard > 3 * beat:  # at first, and after a silence
                send("worker.hello", {"worker": name, "boot": boot, "kinds": ["reverse"],
                                      "holds": holds})
            else:
                send("worker.renew", {"worker": name, "boot": boot, "leases": holds})
            for id, finish in waiting.items():
                send("job.finish", finish, id)
        if not socket.poll(100):
            continue
        header, body = map(msgpack.unpackb, socket.recv_multipart()[:2])
        heard, type, id = now, header["type"], header.get("id", 0)
        if type == "worker.welcome":
            beat = body["heartbeat_ms"] / 1000
        elif type == "worker.renewed" and body.get("hello"):
            heard = -1e9
        elif type == "worker.assign" and body["token"] not in waiting:
            do(body)
        elif type == "job.finished" or type == "error" and not body.get("retryable"):
            waiting.pop(id, None)
            if "next" in body:
                do(body["next"])


if __name__ == "__main__":
    main(*sys.argv[1:])
