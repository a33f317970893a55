#!/usr/bin/env python3
# tune.py: tunes a function of its own, four trials at a time. Started again, it goes on.
#   tune.py ENDPOINT STUDY [TRIALS]            INKLING_CLIENT_KEY: the key's file, over tcp
import itertools, json, math, os, sys, threading, time
import msgpack, zmq

ABOUT = {"space": ["lr=log:1e-5..1e-1", "width=int:8..256", "optimizer={sgd,adam}"],
         "direction": "minimise", "prune": "asha", "first": 1, "last": 9, "seed": 1}
EPOCHS, ASKERS = 9, 4


def loss(params, epoch):  # what is to be tuned; here a formula with its best at lr 0.003, width 90
    if params["lr"] > 0.05 and params["optimizer"] == "sgd":
        return math.nan  # it diverges
    return (math.log10(params["lr"] / 0.003) ** 2 + (params["width"] / 90 - 1) ** 2
            + (0.1 if params["optimizer"] == "sgd" else 0) + 1 / epoch)


class Refused(Exception):
    pass


def read_key(path):  # made by `inkling keys client NAME`
    with open(path) as file:
        return {name: value.encode() for name, _, value in (line.strip().partition(" = ") for line in file)}


KEY = read_key(os.environ["INKLING_CLIENT_KEY"]) if "INKLING_CLIENT_KEY" in os.environ else None


class Client:  # one for each thread
    def __init__(self, endpoint):
        self.endpoint, self.ids = endpoint, itertools.count(1)
        self.connect()

    def connect(self):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        if KEY:
            self.socket.curve_serverkey = KEY["server"]
            self.socket.curve_publickey, self.socket.curve_secretkey = KEY["public"], KEY["secret"]
        self.socket.connect(self.endpoint)

    def ask(self, type, body, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            id, retry = next(self.ids), False
            header = {"v": 1, "type": type, "id": id}
            self.socket.send_multipart([msgpack.packb(header), msgpack.packb(body)])
            while not retry and self.socket.poll(5000):
                header, answer = map(msgpack.unpackb, self.socket.recv_multipart()[:2])
                if header.get("id") != id:
                    continue  # a late answer to an earlier request
                if header["type"] != "error":
                    return answer
                if not answer.get("retryable"):
                    raise Refused("{code}: {message}".format(**answer))
                retry = True
            time.sleep(0.2)  # no answer, or UNAVAILABLE: the same again does no harm
            self.socket.close()
            self.connect()
        raise TimeoutError(f"no answer to {type}")


def run(client, study, key):
    trial = client.ask("study.ask", {"study": study, "key": key})
    if trial["state"] != "running":
        return  # the key was used in an earlier life of this program, and the trial has ended
    which = {"study": study, "trial": trial["trial"]}
    for epoch in range(1, EPOCHS + 1):
        value = loss(trial["params"], epoch)
        if not math.isfinite(value):
            client.ask("study.tell", {**which, "failed": f"diverged in epoch {epoch}"})
            return
        if client.ask("study.report", {**which, "step": epoch, "value": value})["stop"]:
            client.ask("study.prune", which)
            return
    client.ask("study.tell", {**which, "value": value})


def asker(endpoint, study, keys):
    client = Client(endpoint)
    try:
        for key in keys:
            run(client, study, key)
    except Refused as refused:  # stopped, full or exhausted: there is no more to try
        print(refused)


def main(endpoint, study, trials="40"):
    client = Client(endpoint)
    client.ask("study.create", {"study": study, "about": ABOUT})
    keys = [f"trial {n}" for n in range(int(trials))]
    threads = [threading.Thread(target=asker, args=(endpoint, study, keys[i::ASKERS]))
               for i in range(ASKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    best = client.ask("study.best", {"study": study})
    print(json.dumps({key: best[key] for key in ("trial", "value", "params")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
