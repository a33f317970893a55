"""A client and a worker written from proto/PROTOCOL.md alone: nothing of Inkling is imported or read."""
import hashlib
import os
import threading
import time
import uuid

import msgpack
import zmq


class Refused(Exception):
    def __init__(self, body):
        super().__init__(f"{body['code']}: {body['message']}")
        self.code, self.message = body["code"], body["message"]
        self.retryable = body.get("retryable", False)


class Client:
    def __init__(self, endpoint):
        self.endpoint, self.last_id = endpoint, 0
        self.connect()

    def connect(self):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(self.endpoint)

    def close(self):
        self.socket.close()

    def once(self, type, body, attachments=(), wait_ms=10000):
        """The answer, or None when there is none in time."""
        self.last_id += 1
        header = {"v": 1, "type": type, "id": self.last_id}
        self.socket.send_multipart([msgpack.packb(header), msgpack.packb(body), *attachments])
        end = time.monotonic() + wait_ms / 1000
        while self.socket.poll(max(0, int((end - time.monotonic()) * 1000))):
            frames = self.socket.recv_multipart()
            header, answer = msgpack.unpackb(frames[0]), msgpack.unpackb(frames[1])
            if header.get("id", 0) != self.last_id:
                continue
            if header["type"] == "error":
                raise Refused(answer)
            return answer
        return None

    def ask(self, type, body, attachments=(), patience=60):
        """Sends again what is unanswered or refused for a while."""
        end = time.monotonic() + patience
        while True:
            try:
                answer = self.once(type, body, attachments, 3000 + body.get("wait_ms", 0))
                if answer is not None:
                    return answer
            except Refused as refused:
                if not refused.retryable or time.monotonic() > end:
                    raise
            if time.monotonic() > end:
                raise TimeoutError(f"no answer to {type}")
            time.sleep(0.2)
            self.close()
            self.connect()

    def submit(self, kind, body, **more):
        return self.ask("job.submit", {"kind": kind, "body": body, "key": uuid.uuid4().hex, **more})["job"]

    def show(self, job):
        return self.ask("job.show", {"job": job})["job"]

    def events(self, job, until=("succeeded", "failed", "cancelled", "dead"), seconds=120):
        """All events up to a state, which must come without gap or duplicate."""
        seen, number, end = [], 0, time.monotonic() + seconds
        while time.monotonic() < end:
            page = self.ask("job.events", {"job": job, "after": number, "wait_ms": 500})
            for event in page.get("events", []):
                number += 1
                assert event["n"] == number, f"event {event['n']} instead of {number}"
                seen.append(event)
            if page["state"] in until and number >= page.get("last", 0):
                return seen
        raise TimeoutError(f"job {job} did not come to {until}: {seen[-3:]}")


class Worker(threading.Thread):
    """Serves kind "sum": adds the numbers of a list, a checkpoint after each.

    body: numbers, a list; pause, seconds after each of them; error, a failure to end with. gate: nothing is added
    while it is set to block.
    """

    def __init__(self, endpoint, name, files, slots=1, kinds=("sum",), resend=5):
        super().__init__(daemon=True)
        self.resend = resend  # seconds without an answer, though renewals are answered
        self.endpoint, self.name_, self.files = endpoint, name, files
        self.slots, self.kinds, self.boot = slots, list(kinds), uuid.uuid4().hex
        self.jobs, self.flying, self.last_id = {}, {}, 0  # jobs: token -> job; flying: id -> (token, type)
        self.stopping, self.silent = threading.Event(), threading.Event()
        self.taken, self.finished = [], []

    def send(self, type, body):
        self.last_id += 1
        header = {"v": 1, "type": type, "id": self.last_id}
        self.socket.send_multipart([msgpack.packb(header), msgpack.packb(body)])
        return self.last_id

    def connect(self):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(self.endpoint)
        self.heard = time.monotonic()
        self.hello()

    def hello(self):
        self.welcomed = False
        holds = [{"job": job["job"], "token": token} for token, job in self.jobs.items()]
        self.hello_id = self.send("worker.hello", {"worker": self.name_, "boot": self.boot, "kinds": self.kinds,
                                                   "slots": self.slots, "holds": holds})

    def run(self):
        self.beat, next_beat = 1.0, 0
        self.connect()
        while not self.stopping.is_set():
            if self.silent.is_set():  # as if hung
                time.sleep(0.05)
                continue
            while self.socket.poll(20):
                header, body = map(msgpack.unpackb, self.socket.recv_multipart()[:2])
                self.receive(header["type"], header.get("id", 0), body)
            now = time.monotonic()
            if now - self.heard > 3 * self.beat:
                self.socket.close()
                self.connect()
            elif self.welcomed and now >= next_beat:
                next_beat = now + self.beat
                leases = [{"job": job["job"], "token": token, "step": job["at"]}
                          for token, job in self.jobs.items()]
                self.send("worker.renew", {"worker": self.name_, "boot": self.boot, "leases": leases})
            for token in list(self.jobs):
                self.work(token, now)
        self.send("worker.bye", {"worker": self.name_, "boot": self.boot})
        self.socket.poll(500)
        self.socket.close()

    def stop(self):
        self.stopping.set()
        self.join()

    def receive(self, type, id, body):
        self.heard = time.monotonic()
        if type == "worker.assign":
            self.assign(body)
        elif type == "worker.cancel":
            self.cancel([body])
        elif type == "worker.welcome":
            self.welcomed, self.beat = True, body["heartbeat_ms"] / 1000
            self.drop(body.get("refused", []))
            self.flying = {}  # what is unanswered is sent again
            for job in self.jobs.values():
                job["waiting"] = False
        elif type == "worker.renewed":
            self.drop(body.get("lost", []))
            self.cancel(body.get("cancel", []))
            if body.get("hello"):
                self.hello()
        elif type == "error" and id == self.hello_id:
            self.heard = float("-inf")  # once more, on a new socket
        elif id in self.flying:
            self.answered(*self.flying.pop(id), type, body)

    def answered(self, token, message, type, body):
        job = self.jobs.get(token)
        if job is None:
            return
        job["waiting"] = False
        if type == "error" and body.get("retryable"):
            job["due"] = self.heard + 0.5
        elif type == "error" and body["code"] in ("STALE", "NOT_FOUND"):
            self.drop([{"job": job["job"], "token": token}])
        elif type == "error" and message == "job.finish":
            job["out"][0] = ("job.finish", {"outcome": "failed", "error": {
                "code": body["code"], "message": body["message"]}})
        else:
            job["out"].pop(0)
            if message == "job.finish":
                self.finished.append((job["job"], body["state"]))
                del self.jobs[token]
                if "next" in body:
                    self.assign(body["next"])

    def assign(self, assigned):
        token = assigned["token"]
        if token in self.jobs or (assigned["job"], token) in self.taken:
            return
        self.taken.append((assigned["job"], token))
        job = {"job": assigned["job"], "body": assigned.get("body", {}), "at": 0, "sum": 0, "seq": 1,
               "out": [], "waiting": False, "due": 0, "ended": False}
        if "checkpoint" in assigned:
            job["at"], job["sum"] = assigned["checkpoint"]["step"], assigned["checkpoint"]["info"]["sum"]
        job["first"] = job["at"]
        self.jobs[token] = job
        self.report(job, "log", {"level": "info", "text": f"from number {job['at']} on"})

    def cancel(self, holds):
        for hold in holds:
            job = self.jobs.get(hold["token"])
            if job and not job["ended"]:
                self.finish(job, outcome="cancelled")

    def drop(self, holds):
        for hold in holds:
            self.jobs.pop(hold["token"], None)

    def report(self, job, type, data):
        job["out"].append(("job.report", {"seq": job["seq"], "events": [{"type": type, "data": data}]}))
        job["seq"] += 1

    def finish(self, job, **what):
        job["ended"] = True
        job["out"].append(("job.finish", what))

    def checkpoint(self, job, token):
        path = f"jobs/{job['job']}/{token}/{job['at']}.txt"
        full, content = os.path.join(self.files, path), str(job["sum"]).encode()
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full + ".new", "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(full + ".new", full)
        job["out"].append(("job.checkpoint", {"checkpoint": {
            "path": path, "digest": hashlib.sha256(content).hexdigest(), "step": job["at"],
            "info": {"sum": job["sum"]}}}))

    def work(self, token, now):
        job = self.jobs[token]
        if job["out"]:  # one message at a time, in order
            if self.welcomed and not job["waiting"] and now >= job["due"]:
                type, body = job["out"][0]
                id = self.send(type, {"worker": self.name_, "job": job["job"], "token": token, **body})
                self.flying[id], job["waiting"], job["again"] = (token, type), True, now + self.resend
            elif job["waiting"] and now >= job["again"]:  # no answer: the same once more
                self.flying = {id: what for id, what in self.flying.items() if what[0] != token}
                job["waiting"] = False
            return
        if job["ended"] or now < job["due"]:
            return
        numbers = job["body"].get("numbers", [])
        if job["at"] < len(numbers):
            job["sum"] += numbers[job["at"]]
            job["at"] += 1
            job["due"] = now + job["body"].get("pause", 0)
            self.report(job, "progress", {"done": job["at"], "total": len(numbers)})
            self.checkpoint(job, token)
        elif "error" in job["body"]:
            self.finish(job, outcome="failed", error=job["body"]["error"])
        else:
            self.finish(job, outcome="succeeded", result={"sum": job["sum"]})
