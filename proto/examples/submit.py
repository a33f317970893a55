#!/usr/bin/env python3
# submit.py: submits a job and follows it to its end.
#   submit.py ENDPOINT[,ENDPOINT...] KIND [BODY as JSON]
import itertools, json, sys, time, uuid
import msgpack, zmq


class Client:
    def __init__(self, endpoints):
        self.endpoints, self.ids = itertools.cycle(endpoints.split(",")), itertools.count(1)
        self.connect(next(self.endpoints))

    def connect(self, endpoint):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(endpoint)

    def ask(self, type, body, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            id = next(self.ids)
            header = {"v": 1, "type": type, "id": id}
            self.socket.send_multipart([msgpack.packb(header), msgpack.packb(body)])
            error = None
            while error is None and self.socket.poll(3000 + body.get("wait_ms", 0)):
                header, answer = map(msgpack.unpackb, self.socket.recv_multipart()[:2])
                if header.get("id") != id:
                    continue  # a late answer to an earlier request
                if header["type"] != "error":
                    return answer
                if not answer.get("retryable"):
                    raise RuntimeError("{code}: {message}".format(**answer))
                error = answer
            time.sleep(0.2)  # no answer, NOT_LEADER, UNAVAILABLE ...: ask again, perhaps elsewhere
            self.socket.close()
            self.connect((error or {}).get("leader") or next(self.endpoints))
        raise TimeoutError(f"no answer to {type}")


def main(endpoints, kind, body="{}"):
    client = Client(endpoints)
    submit = {"kind": kind, "body": json.loads(body), "key": uuid.uuid4().hex}
    job, n = client.ask("job.submit", submit)["job"], 0
    while True:
        page = client.ask("job.events", {"job": job, "after": n, "wait_ms": 10000})
        for event in page["events"]:
            print(event["n"], event["type"], json.dumps(event.get("data", {})), flush=True)
            n = event["n"]
        if page["state"] not in ("queued", "running") and n >= page["last"]:
            break
    info = client.ask("job.show", {"job": job})["job"]
    print(json.dumps({key: info.get(key) for key in ("job", "state", "result", "error")}))
    return 0 if info["state"] == "succeeded" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
