#!/usr/bin/env python3
# shout.py: a worker for a kind of its own, "shout": says a text in capitals, letter by letter.
#   shout.py ENDPOINT[,ENDPOINT...] NAME FILES      FILES: the stack's folder of files
import hashlib, itertools, os, sys, time, uuid
import msgpack, zmq


class Worker:
    def __init__(self, endpoints, name, files):
        self.endpoints, self.ids = itertools.cycle(endpoints.split(",")), itertools.count(1)
        self.name, self.boot, self.files = name, uuid.uuid4().hex, files
        self.socket, self.beat, self.job, self.ended = None, 1.0, None, set()
        self.outbox, self.flight, self.due, self.next_beat = [], 0, 0, 0
        self.connect(next(self.endpoints))

    def send(self, type, body):
        id = next(self.ids)
        self.socket.send_multipart(
            [msgpack.packb({"v": 1, "type": type, "id": id}), msgpack.packb(body)])
        return id

    def connect(self, endpoint):
        if self.socket:
            self.socket.close()
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(endpoint)
        self.heard = time.monotonic()
        self.hello()

    def hello(self):  # with all that is held: after a reconnect the dispatcher may know nothing
        holds = [{"job": self.job["job"], "token": self.job["token"]}] if self.job else []
        self.welcome, self.hello_due = False, float("inf")
        self.hello_id = self.send("worker.hello", {
            "worker": self.name, "boot": self.boot, "kinds": ["shout"], "pid": os.getpid(),
            "holds": holds})

    # --- What comes in

    def receive(self, header, body):
        self.heard, type, id = time.monotonic(), header["type"], header.get("id", 0)
        if type == "worker.assign":
            self.assign(body)
        elif type == "worker.cancel":
            self.cancel([body])
        elif type == "error" and body["code"] == "NOT_LEADER":
            time.sleep(0.1)
            self.connect(body.get("leader") or next(self.endpoints))
        elif type == "worker.welcome" and id == self.hello_id:
            self.welcome, self.beat, self.due = True, body["heartbeat_ms"] / 1000, 0
            self.lose(body.get("refused", []))
        elif type == "worker.renewed":
            self.lose(body.get("lost", []))
            self.cancel(body.get("cancel", []))
            if body.get("hello"):
                self.hello()
        elif type == "error" and id == self.hello_id:
            self.hello_due = self.heard + self.beat
        elif self.outbox and id == self.flight:
            self.answered(type, body)

    def holds(self, hold):
        return self.job and (hold["job"], hold["token"]) == (self.job["job"], self.job["token"])

    def assign(self, job):
        if (job["job"], job["token"]) in self.ended or self.holds(job):
            return  # it came twice
        if self.job:
            return  # all slots are taken (this worker has one): it is sent again, or runs out
        self.job, self.said, self.seq, self.stop = job, "", 1, False
        if "checkpoint" in job:
            with open(os.path.join(self.files, job["checkpoint"]["path"]), "rb") as file:
                content = file.read()
            if hashlib.sha256(content).hexdigest() == job["checkpoint"]["digest"]:
                self.said = content.decode()
        self.say({"type": "log", "data": {"text": f"from letter {len(self.said)} on"}})

    def cancel(self, holds):
        if any(map(self.holds, holds)) and not self.stop:
            self.finish("cancelled")

    def lose(self, holds):  # somebody else may have the job: nothing more is told of it
        if any(map(self.holds, holds)):
            self.end()

    def answered(self, type, body):
        if type == "error" and body.get("retryable"):
            self.due = time.monotonic() + 0.5
        elif type == "error" and body["code"] in ("STALE", "NOT_FOUND"):
            self.end()
        elif type == "error" and self.outbox[0][1].get("outcome") == "succeeded":
            self.outbox.pop(0)  # the result is refused: that is a failure
            self.finish("failed", error={"code": body["code"], "message": body["message"]})
        else:
            self.outbox.pop(0)
            self.due = 0
            if type == "job.finished":
                self.end()
                if "next" in body:
                    self.assign(body["next"])

    def end(self):
        self.ended.add((self.job["job"], self.job["token"]))
        self.job, self.outbox = None, []

    # --- What goes out: one message at a time, again and again until it is answered

    def tell(self, type, body):
        self.outbox.append((type, {"worker": self.name, "job": self.job["job"],
                                   "token": self.job["token"], **body}))

    def say(self, event):
        self.tell("job.report", {"seq": self.seq, "events": [event]})
        self.seq += 1

    def finish(self, outcome, **more):
        self.stop = True
        self.tell("job.finish", {"outcome": outcome, **more})

    def checkpoint(self):
        path = f'jobs/{self.job["job"]}/{self.job["token"]}/{len(self.said)}.txt'
        full, content = os.path.join(self.files, path), self.said.encode()
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full + ".new", "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(full + ".new", full)
        self.tell("job.checkpoint", {"checkpoint": {
            "path": path, "digest": hashlib.sha256(content).hexdigest(), "step": len(self.said)}})

    # --- The work: a short piece at a time; long ones belong into a thread or process of their own

    def work(self):
        text = self.job.get("body", {})["text"]
        if len(self.said) >= len(text):
            return self.finish("succeeded", result={"text": self.said})
        time.sleep(self.job["body"].get("pause", 0))
        self.said += text[len(self.said)].upper()
        self.say({"type": "progress", "data": {"done": len(self.said), "total": len(text)}})
        if len(self.said) % 5 == 0:
            self.checkpoint()

    def run(self):
        while True:
            if self.socket.poll(20 if self.stopped() else 0):
                self.receive(*map(msgpack.unpackb, self.socket.recv_multipart()[:2]))
            now = time.monotonic()
            if now - self.heard > 3 * self.beat:  # silence: a fresh connection
                self.connect(next(self.endpoints))
            elif now >= self.hello_due:
                self.hello()
            elif self.welcome and now >= self.next_beat:
                self.next_beat = now + self.beat
                leases = [{"job": self.job["job"], "token": self.job["token"],
                           "step": len(self.said)}] if self.job else []
                self.send("worker.renew",
                          {"worker": self.name, "boot": self.boot, "leases": leases})
            if self.welcome and self.outbox and now >= self.due:
                self.flight, self.due = self.send(*self.outbox[0]), now + 5
            try:
                if not self.stopped():
                    self.work()
            except Exception as error:  # of the job, not of the worker
                self.finish("failed", error={"code": "INVALID", "message": repr(error)})

    def stopped(self):
        return not self.job or self.stop or len(self.outbox) > 100


if __name__ == "__main__":
    Worker(*sys.argv[1:]).run()
