"""Versions of a model under continuous load: tried, promoted, rolled back, damaged, with the dispatcher and Redis killed meanwhile.
No request fails, and each answer is that of the version which it names."""

import os
import threading
import time
import unittest

import msgpack
import zmq

from stack import StackTest, until

CLIENTS = 2
IMAGES = 8
PATIENCE_MS = 60000


class Load:
    """Clients that ask for a model without a version, without a pause; an answer that is late, refused or wrong is kept."""

    def __init__(self, endpoint, model, files, expected):
        self.endpoint, self.model, self.expected = endpoint, model, expected
        self.images = []
        for path in files:
            with open(path, "rb") as file:
                self.images.append(file.read())
        self.ending, self.lock = False, threading.Lock()
        self.counts = {version: 0 for version in expected}
        self.wrong = []
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *why):
        self.ending = True
        for thread in self.threads:
            thread.join()

    def run(self, number):
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(self.endpoint)
        asked = 0
        while not self.ending and len(self.wrong) < 10:
            asked += 1
            try:
                self.ask(socket, asked, (asked + number) % len(self.images))
            except Exception as problem:
                self.wrong.append(repr(problem))
        context.destroy()

    def ask(self, socket, id, index):
        # Two images: one request is one version's, whole.
        socket.send_multipart([msgpack.packb({"v": 1, "type": "classify", "id": id}),
                               msgpack.packb({"model": self.model, "wait_ms": 10000}),
                               self.images[index], self.images[0]])
        if not socket.poll(PATIENCE_MS):
            raise AssertionError("no answer")
        header, body = map(msgpack.unpackb, socket.recv_multipart()[:2])
        if header["type"] != "classified" or header["id"] != id:
            raise AssertionError(f"{header}: {body}")
        versions = {result.get("version") for result in body["results"]}
        found = [(result.get("label"), result.get("probability")) for result in body["results"]]
        if len(versions) != 1 or found != [self.expected[max(versions)][at] for at in (index, 0)]:
            raise AssertionError(f"{versions} answered {found}")
        with self.lock:
            self.counts[max(versions)] += 1

    def next(self, count):
        """How many of so many answers, from now on, each version gave."""
        with self.lock:
            before = dict(self.counts)

        def there():
            with self.lock:
                return self.wrong or sum(self.counts.values()) - sum(before.values()) >= count

        until(f"{count} answers", there)
        with self.lock:
            return {version: self.counts[version] - before[version] for version in before}

    def until_only(self, version):
        until(f"only version {version} answers",
              lambda: self.wrong or sum(n for v, n in self.next(50).items() if v != version) == 0)

    def until_both(self, *versions):
        until(f"versions {versions} answer",
              lambda: self.wrong or all(n > 0 for v, n in self.next(50).items() if v in versions))


class Versions(StackTest):
    settings = {"log_level": "info"}

    @classmethod
    def prepare(cls):
        images = cls.stack.path("images")
        cls.stack.ask("demo-data", images, "--count", 120)
        cls.stack.ask("ingest", images, "--name", "heads", "--size", 32)
        for seed in (1, 2, 3, 4):
            cls.stack.ask("train", "heads", "--width", 4, "--epochs", 1, "--seed", seed)
        cls.files = [os.path.join(images, "photos", name)
                     for name in sorted(os.listdir(os.path.join(images, "photos")))[:IMAGES]]
        cls.expected = {}
        for version in (1, 2, 3, 4):
            answers = cls.stack.ask("classify", *cls.files, "--model", f"heads@{version}")
            cls.expected[version] = [(answer["label"], answer["probability"]) for answer in answers]

    def load(self):
        return Load(f"ipc://{self.stack.path('run', 'gateway.sock')}", "heads", self.files, self.expected)

    def assert_only(self, load, version):
        self.assertEqual([v for v, n in load.next(200).items() if n], [version])

    def listed(self):
        return {entry["version"]: entry for entry in self.stack.ask("models", "heads")}

    def test_1_nothing_is_lost_or_mixed_up(self):
        for one in range(1, 5):
            for other in range(1, one):
                for a, b in zip(self.expected[one], self.expected[other]):
                    self.assertNotEqual(a, b)  # or the answers would not tell versions apart
        with self.load() as load:
            self.assert_only(load, 1)
            tried = self.stack.ask("promote", "heads@2", "--percent", 30)
            self.assertEqual((tried["promoted"], tried["canary"]), (False, 30))
            load.until_both(1, 2)
            share = load.next(1000)
            self.assertTrue(200 <= share[2] <= 400, share)  # 7 standard deviations
            self.assertEqual(share[1] + share[2], sum(share.values()))
            listed = self.listed()
            self.assertEqual([listed[v]["canary"] for v in (1, 2, 3)], [0, 30, 0])
            self.assertTrue(listed[1]["promoted"] and listed[1]["gateway"]["served"])
            self.assertEqual((listed[2]["gateway"]["state"], listed[2]["gateway"]["canary"]), ("ready", 30))
            self.assertIn("canary, 30 %", self.stack.run("models", "heads")[1])
            self.assertIn("error", self.stack.ask("model", "rm", "heads@2", code=1))
            # The dispatcher and Redis die; the gateway's next process knows of the canary as well.
            self.stack.kill("dispatcher")
            self.stack.kill("redis")
            self.assertGreater(load.next(200)[2], 0)
            until("the stack is whole again", self.stack.ready)
            self.stack.ask("promote", "heads@2", "--percent", 80)
            until("the larger share", lambda: load.wrong or load.next(500)[2] > 325)
            done = self.stack.ask("rollback", "heads")
            self.assertEqual((done["version"], done["canary"], done["model"]["version"]), (2, True, 1))
            load.until_only(1)
            self.stack.ask("promote", "heads@3", "--percent", 50)
            load.until_both(1, 3)
            self.assertTrue(self.stack.ask("promote", "heads@3")["promoted"])
            load.until_only(3)
            self.stack.ask("promote", "heads@2")
            load.until_only(2)
            self.assertEqual(self.stack.ask("rollback", "heads")["model"]["version"], 3)
            load.until_only(3)
            code, said, _ = self.stack.run("rollback", "heads@3")
            self.assertEqual((code, said.strip()), (0, "heads@3 is rolled back; promoted is heads@1"))
            load.until_only(1)
            refused = self.stack.ask("rollback", "heads", code=1)
            self.assertIn("promoted before heads@1", str(refused))
            for _ in range(5):
                for version in (2, 1):
                    self.stack.ask("promote", f"heads@{version}")
                    load.until_only(version)
        self.assertEqual(load.wrong, [])

    def test_2_a_damaged_version_serves_nobody(self):
        path = self.stack.path("files", self.stack.ask("model", "show", "heads@4")["path"], "model.safetensors")
        os.truncate(path, os.path.getsize(path) - 4)
        self.stack.ask("promote", "heads@1")
        # Not loaded any more, or nobody would look at its files.
        self.stack.kill("gateway-0")
        until("the stack is whole again", self.stack.ready)
        with self.load() as load:
            load.until_only(1)
            for words in (("--percent", 50), ()):
                self.stack.ask("promote", "heads@4", *words)
                state = until("the gateway says why",
                              lambda: self.listed()[4]["gateway"] and self.listed()[4]["gateway"].get("error"))
                self.assertEqual(state["code"], "CORRUPT")
                self.assertIn("model.safetensors", state["message"])
                code, said, _ = self.stack.run("status")
                self.assertEqual(code, 0)  # the stack is ready: it serves
                self.assertIn("cannot load model heads@4", said)
                self.assertIn("model heads@4", self.stack.run("models")[1])
                self.assert_only(load, 1)
            self.stack.ask("rollback", "heads")
            until("nothing is wrong any more", lambda: "cannot" not in self.stack.run("status")[1])
            load.until_only(1)
        self.assertEqual(load.wrong, [])

    def test_3_orders_that_make_no_sense(self):
        self.stack.ask("train", "heads", "--width", 4, "--epochs", 1, "--model", "alone", "--promote", "never")
        for words, code, said in [(("promote", "alone@1", "--percent", 10), 1, "promote alone@1"),
                                  (("promote", "heads@1", "--percent", 10), 1, "heads@1 is promoted"),
                                  (("promote", "heads@2", "--percent", 0), 2, "percent"),
                                  (("promote", "heads@2", "--percent", 101), 2, "percent"),
                                  (("promote", "heads@9", "--percent", 10), 3, "heads"),
                                  (("rollback", "alone"), 3, "alone"),
                                  (("rollback", "nothing"), 3, "nothing"),
                                  (("rollback", "heads@2"), 1, "heads@2 is not served")]:
            with self.subTest(words=words):
                self.assertIn(said, str(self.stack.ask(*words, code=code)))


if __name__ == "__main__":
    unittest.main()
