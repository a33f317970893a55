"""The gateway over HTTP: what openapi.json tells of, the same bits whatever a request looks like, what wrong requests are told,
and no wrong, lost or mixed-up answer under load, hostile clients, promotions and kill -9."""

import base64
import json
import os
import random
import re
import socket
import struct
import threading
import unittest

import msgpack
import zmq

from http_peer import SIZE, Peer, bomb, drawn, infer, multipart, outputs, tensor
from images import textures
from stack import StackTest, until

IMAGES = 12
CLIENTS = 3


def sanitized(pid):
    with open(f"/proc/{pid}/maps") as maps:
        return any(name in maps.read() for name in ("libasan", "libtsan", "libubsan"))


def anonymous(pid):
    """Bytes of memory of its own that a process has."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


class HttpTest(StackTest):
    @classmethod
    def prepare(cls):
        images = textures(cls.stack.path("images"), 12, SIZE, seed=7, kinds=3)
        cls.stack.ask("ingest", images, "--name", "tiny", "--size", SIZE)
        for seed in (1, 2):
            cls.stack.ask("train", "tiny", "--width", 4, "--epochs", 1, "--seed", seed)
        until("the model is served", cls.stack.ready)
        cls.url = cls.stack.ask("status")["gateway"]["http"]
        cls.pixels, cls.files = zip(*map(drawn, range(IMAGES)))
        cls.paths = []
        for number, data in enumerate(cls.files):
            cls.paths.append(cls.stack.path(f"{number}.png"))
            with open(cls.paths[-1], "wb") as file:
                file.write(data)
        # By version: label and probability of each image, as the command line tells.
        cls.expected = {}
        for version in (1, 2):
            answers = cls.stack.ask("classify", *cls.paths, "--model", f"tiny@{version}")
            cls.expected[version] = [(a["label"], struct.pack("<f", a["probability"])) for a in answers]

    def setUp(self):
        self.peer = Peer(self.url)
        self.addCleanup(self.peer.close)

    def good(self, method, path, body=None, headers=None):
        status, fields, data = self.peer.ask(method, path, body, headers)
        self.assertEqual(status, 200, f"{method} {path}: {data[:500]}")
        return fields, data

    def refused(self, status, says, method, path, body=None, headers=None):
        """The error says all of these words, and is whole."""
        got, fields, data = self.peer.ask(method, path, body, headers)
        self.assertEqual(got, status, f"{method} {path}: {data[:500]}")
        document = json.loads(data)
        self.assertEqual(set(document), {"error", "code", "message", "remedy", "retryable"})
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(word, document["error"])
        self.assertTrue(document["message"] in document["error"] and document["remedy"], document)
        self.assertEqual("Retry-After" in fields, status in (429, 503))
        return document


class Documented(HttpTest):
    def request(self, path, method):
        """A good one for a documented operation: path, body."""
        path = path.replace("{model}", "tiny").replace("{version}", "1")
        if "classify" in path:
            return path, self.files[0]
        if "infer" in path:
            return path, infer(tensor("pixels", "UINT8", [1, SIZE, SIZE, 1], list(self.pixels[0])))[0]
        return path, None

    def test_every_operation_answers_as_it_says(self):
        document = json.loads(self.good("GET", "/openapi.json")[1])
        self.assertTrue(document["openapi"].startswith("3."))
        operations = [(path, method, operation) for path, methods in document["paths"].items()
                      for method, operation in methods.items() if method != "parameters"]
        self.assertGreater(len(operations), 15)
        # An unloaded model is loaded again before anything else is asked of it.
        operations.sort(key=lambda entry: ("unload" in entry[0] and 1) or ("/load" in entry[0] and 2) or 0)
        for path, method, operation in operations:
            documented = {int(status) for status in operation["responses"]}
            good, body = self.request(path, method)
            with self.subTest(path=path, method=method):
                self.good(method.upper(), good, body)
                self.assertIn(200, documented)
                self.refused(405, method.upper(), "DELETE", good)
                if method == "get":
                    status, fields, data = self.peer.ask("HEAD", good)
                    self.assertEqual((status, data), (200, b""))
                    self.assertGreater(int(fields["Content-Length"]), 0)
                if "{model}" in path and "unload" not in path:
                    self.assertIn(404, documented)
                    self.refused(404, "nobody", method.upper(), good.replace("tiny", "nobody"), body)
                if "{version}" in path:
                    self.refused(404, "tiny", method.upper(), good.replace("/1", "/77"), body)
                    self.refused(404, "one", method.upper(), good.replace("/1", "/one"), body)
                if body:
                    self.assertTrue({400, 413, 415} <= documented)
                    self.refused(400, "", method.upper(), good, b"")
                    self.refused(415, "gzip", method.upper(), good, body, {"Content-Encoding": "gzip"})
                    self.refused(413, "gateway_queue_mb", method.upper(), good, b"", {"Content-Length": str(1 << 40)})
                    self.peer.close()  # which did not get its body

    def test_there_is_nothing_else(self):
        for path in ("/", "/v2/", "/v1", "/v2/models", "/v2/models/", "/v2/models//infer", "/v2/models/tiny/nothing", "/v2/health",
                     "/v2/models/tiny/versions", "/v2/models/tiny/versions/", "/v2/models/tiny/versions/1/2", "//v2", "/V2",
                     "/v2/models/a%00b", "/%2e%2e/etc/passwd", "/v2/models/%", "/v2/models/" + "x" * 97, "/v2/models/" + "x" * 9000):
            with self.subTest(path=path[:40]):
                status, _, data = self.peer.ask("GET", path)
                if path == "/v2/":
                    self.assertEqual(status, 200)  # a slash more is no harm
                else:
                    self.assertIn(status, (404, 405), data)
        for name in ("a@b", "tiny@x", "tiny@1@2", "@", ".image", "tiny.image.image", "a b", "%ff", "%0d%0aX:%20y", "..", "'", "%22"):
            with self.subTest(name=name):
                status, _, data = self.peer.ask("GET", f"/v2/models/{name.replace(' ', '%20')}")
                self.assertIn(status, (400, 404), data)
                json.loads(data)


class SameBits(HttpTest):
    def table(self, version=""):
        """What the gateway says of all images in one request: probabilities and label of each."""
        body, fields = infer(tensor("pixels", "UINT8", [IMAGES, SIZE, SIZE, 1], size=IMAGES * SIZE * SIZE), b"".join(self.pixels),
                             [{"name": name, "parameters": {"binary_data": True}} for name in ("probabilities", "label")])
        name, number, found = outputs(*self.good("POST", f"/v2/models/tiny{version}/infer", body, fields))
        self.assertEqual(name, "tiny")
        rows = found["probabilities"]
        each = len(rows) // IMAGES
        return number, [rows[i * each:(i + 1) * each] for i in range(IMAGES)], found["label"]

    def bits(self, path, body, fields, count):
        name, _, found = outputs(*self.good("POST", path, body, fields))
        each = len(found["probabilities"]) // count
        return [found["probabilities"][i * each:(i + 1) * each] for i in range(count)], found["label"]

    def test_whatever_the_request_looks_like(self):
        number, rows, labels = self.table()
        self.assertEqual(number, "1")
        for row, label, (said, best) in zip(rows, labels, self.expected[1]):
            self.assertEqual((label, max(row, key=lambda bits: struct.unpack("<f", bits))), (said, best))
        self.assertGreater(len({tuple(row) for row in rows}), IMAGES // 2)
        for i in (0, 5, 11):
            shape, pixels = [1, SIZE, SIZE, 1], self.pixels[i]
            nested = [[[[pixels[y * SIZE + x]] for x in range(SIZE)] for y in range(SIZE)]]
            floats = struct.pack(f"<{SIZE * SIZE}f", *(value / 255 for value in pixels))
            known = struct.unpack(f"<{SIZE * SIZE}f", floats)
            frame = struct.pack("<I", len(self.files[i])) + self.files[i]
            encoded = base64.b64encode(self.files[i]).decode()
            for path, (body, fields) in [
                    ("tiny", infer(tensor("pixels", "UINT8", shape, list(pixels)))),
                    ("tiny", infer(tensor("pixels", "UINT8", shape, nested))),
                    ("tiny", infer(tensor("pixels", "UINT8", shape, size=len(pixels)), pixels)),
                    ("tiny", infer(tensor("pixels", "FP32", shape, [float(x) for x in known]))),
                    ("tiny", infer(tensor("pixels", "FP32", shape, size=len(floats)), floats, parameters={"binary_data_output": True})),
                    ("tiny.image", infer(tensor("image", "BYTES", [1], [encoded]))),
                    ("tiny.image", infer(tensor("image", "BYTES", [1, 1], size=len(frame)), frame)),
                    ("tiny/versions/1", infer(tensor("pixels", "UINT8", shape, size=len(pixels)), pixels))]:
                self.assertEqual(self.bits(f"/v2/models/{path}/infer", body, fields, 1), ([rows[i]], [labels[i]]), path)
        # Many at once, as files.
        frames = b"".join(struct.pack("<I", len(data)) + data for data in self.files)
        body, fields = infer(tensor("image", "BYTES", [IMAGES], size=len(frames)), frames)
        self.assertEqual(self.bits("/v2/models/tiny.image/infer", body, fields, IMAGES), (rows, labels))
        # And with the plainer door, one by one and all at once, in a body that is told the length of and in one that is not.
        body, kind = multipart({f"{i}.png": data for i, data in enumerate(self.files)})
        many = json.loads(self.good("POST", "/v1/classify/tiny", body, {"Content-Type": kind})[1])
        self.assertEqual([answer["file"] for answer in many], [f"{i}.png" for i in range(IMAGES)])
        for i, answer in enumerate(many):
            alone, = json.loads(self.good("POST", "/v1/classify/tiny", iter([self.files[i][:99], self.files[i][99:]]),
                                          {"Content-Type": "image/png", "Transfer-Encoding": "chunked"})[1])
            for said in (answer, alone):
                self.assertEqual((said["label"], struct.pack("<f", said["probability"]), said["version"]), (*self.expected[1][i], 1))

    def test_over_zeromq_too(self):
        _, rows, labels = self.table()
        floats = b"".join(struct.pack("<f", value / 255) for pixels in self.pixels for value in pixels)
        with zmq.Context() as context, context.socket(zmq.DEALER) as client:
            client.linger = 0
            client.connect(f"ipc://{self.stack.path('run', 'gateway.sock')}")
            for datatype, data in (("UINT8", b"".join(self.pixels)), ("FP32", floats)):
                client.send_multipart([msgpack.packb({"v": 1, "type": "infer", "id": 5}),
                                       msgpack.packb({"model": "tiny", "datatype": datatype}), data])
                self.assertTrue(client.poll(60000))
                header, body, table = client.recv_multipart()
                body = msgpack.unpackb(body)
                self.assertEqual(msgpack.unpackb(header)["type"], "inferred", body)
                self.assertEqual((table, body["labels"]), (b"".join(map(b"".join, rows)), labels))

    def test_wishes_for_outputs(self):
        shape, pixels = [2, SIZE, SIZE, 1], self.pixels[0] + self.pixels[1]
        _, rows, labels = self.table()
        classes = json.loads(self.good("GET", "/v2/models/tiny")[1])["parameters"]["classes"]
        for top in (1, 2, 99):
            body, fields = infer(tensor("pixels", "UINT8", shape, size=len(pixels)), pixels,
                                 [{"name": "probabilities", "parameters": {"classification": top, "binary_data": top == 2}}], id="é\"")
            fields, data = self.good("POST", "/v2/models/tiny/infer", body, fields)
            _, _, found = outputs(fields, data)
            self.assertEqual(list(found), ["probabilities"])
            self.assertEqual(len(found["probabilities"]), 2 * min(top, len(classes)))
            value, index, label = found["probabilities"][0].split(":")
            self.assertEqual((struct.pack("<f", float(value)), label, classes[int(index)]),
                             (max(rows[0], key=lambda bits: struct.unpack("<f", bits)), labels[0], labels[0]))
            if top != 2:
                self.assertEqual(json.loads(data)["id"], "é\"")


class Wrong(HttpTest):
    def test_names_the_field_and_the_remedy(self):
        shape, pixels, count = [1, SIZE, SIZE, 1], list(self.pixels[0]), SIZE * SIZE
        raw = self.pixels[0]
        for path, (body, fields), status, says in [
                ("tiny", infer(tensor("pixels", "UINT8", [1, 7, SIZE, 1], pixels[:7 * SIZE])), 400, ("pixels", "[n,24,24,1]")),
                ("tiny", infer(tensor("pixels", "UINT8", [1, SIZE, SIZE, 3], pixels * 3)), 400, ("pixels", "[n,24,24,1]")),
                ("tiny", infer(tensor("pixels", "UINT8", shape, pixels[:-1])), 400, ("data", str(count - 1))),
                ("tiny", infer(tensor("pixels", "UINT8", shape, pixels[:-1] + [256])), 400, (f"data[{count - 1}]", "0 to 255")),
                ("tiny", infer(tensor("pixels", "FP32", shape, [float("nan")] * count)), 400, ("NaN", "JSON")),
                ("tiny", infer(tensor("pixels", "FP32", shape, size=4 * count), struct.pack("<f", float("inf")) * count), 400, "finite"),
                ("tiny", infer(tensor("pixels", "INT64", shape, pixels)), 400, ("datatype", "INT64", "UINT8")),
                ("tiny", infer(tensor("image", "BYTES", [1], ["YQ=="])), 400, ("image", "pixels")),
                ("tiny.image", infer(tensor("pixels", "UINT8", shape, pixels)), 400, ("pixels", "image")),
                ("tiny.image", infer(tensor("image", "BYTES", [1], ["YQ=="])), 400, "element 0"),
                ("tiny.image", infer(tensor("image", "BYTES", [1], [""])), 400, ("element 0", "empty")),
                ("tiny.image", infer(tensor("image", "BYTES", [2], [base64.b64encode(self.files[0]).decode(), "YWJj"])), 400, ("element 1", "not an image")),
                ("tiny.image", infer(tensor("image", "BYTES", [1], [base64.b64encode(bomb(30000)).decode()])), 413, "element 0"),
                ("tiny.image", infer(tensor("image", "BYTES", [1], [base64.b64encode(self.files[0][:-30]).decode()])), 400, "element 0"),
                ("tiny", infer(tensor("pixels", "UINT8", shape, size=count + 1), raw), 400, ("binary_data_size", str(count))),
                ("tiny", infer(tensor("pixels", "UINT8", shape, size=count), raw + b"x"), 400, ("binary_data_size", str(count + 1))),
                ("tiny", (infer(tensor("pixels", "UINT8", shape, pixels))[0], {"Inference-Header-Content-Length": "x"}), 400,
                 "Inference-Header-Content-Length"),
                ("tiny", (infer(tensor("pixels", "UINT8", shape, pixels))[0], {"Inference-Header-Content-Length": "99999999"}), 400,
                 "Inference-Header-Content-Length"),
                ("tiny", (b"[" * 100000, {}), 400, "byte 32"),
                ("tiny", infer(tensor("pixels", "UINT8", [60000, SIZE, SIZE, 1], pixels)), 400, "shape"),
                ("tiny", infer(tensor("pixels", "UINT8", shape, pixels), outputs=[{"name": "logits"}]), 400, ("logits", "probabilities")),
                ("tiny", infer(tensor("pixels", "UINT8", shape, pixels), parameters={"priority": 9}), 400, "priority"),
                ("nobody", infer(tensor("pixels", "UINT8", shape, pixels)), 404, "nobody"),
                ("tiny/versions/9", infer(tensor("pixels", "UINT8", shape, pixels)), 404, "tiny"),
                ("tiny/versions/18446744073709551616", infer(tensor("pixels", "UINT8", shape, pixels)), 400, "tiny")]:
            with self.subTest(path=path, says=says):
                self.refused(status, says, "POST", f"/v2/models/{path}/infer", body, fields)
        for body, kind, status, says in [
                (b"", "image/png", 400, "empty"),
                (b"no image", "image/png", 400, "not an image"),
                (self.files[0][:-30], "image/png", 400, ""),
                (bomb(30000), "image/png", 413, "pixels"),
                (b"", "multipart/form-data", 400, "boundary"),
                (b"--b\r\n\r\nabc", "multipart/form-data; boundary=b", 400, ("part 1", "cut off")),
                (b"--b--\r\n", "multipart/form-data; boundary=b", 400, "no part")]:
            with self.subTest(kind=kind, says=says):
                self.refused(status, says, "POST", "/v1/classify/tiny", body, {"Content-Type": kind})
        body, kind = multipart({"a.png": self.files[0], "b.png": b"", "c.png": b"no image", "d.png": self.files[1]})
        answers = json.loads(self.good("POST", "/v1/classify/tiny", body, {"Content-Type": kind})[1])
        self.assertEqual([answer.get("error", {}).get("code") for answer in answers], [None, "INVALID", "INVALID", None])
        for name, value in (("wait_ms", "x"), ("wait_ms", "60001"), ("deadline_ms", "-1"), ("priority", "4"), ("priority", "")):
            self.refused(400, name, "POST", f"/v1/classify/tiny?{name}={value}", self.files[0])
        self.refused(404, ".image", "POST", "/v1/classify/tiny.image", self.files[0])
        self.refused(400, "ready", "POST", "/v2/repository/index", b"[]")
        self.refused(413, "65536", "POST", "/v2/repository/index", b" " * 65537)

    def damage(self, rng):
        """A request as bytes, wrong somewhere."""
        i = rng.randrange(IMAGES)
        body, fields = rng.choice([
            infer(tensor("pixels", "UINT8", [1, SIZE, SIZE, 1], size=SIZE * SIZE), self.pixels[i]),
            infer(tensor("pixels", "UINT8", [1, SIZE, SIZE, 1], list(self.pixels[i]))),
            infer(tensor("image", "BYTES", [1], [base64.b64encode(self.files[i]).decode()])),
            (self.files[i], {"Content-Type": "image/png"}),
            (lambda made: (made[0], {"Content-Type": made[1]}))(multipart({"a": self.files[i], "b": self.files[0]}))])
        path = rng.choice(["/v2/models/tiny/infer", "/v2/models/tiny.image/infer", "/v1/classify/tiny", "/v2/models/nobody/infer"])
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        data = bytearray((head + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n").encode() + body)
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(data))
            kind = rng.randrange(4)
            if kind == 0:
                data[at] = rng.randrange(256)
            elif kind == 1:
                del data[at:at + rng.randrange(1, 40)]
            elif kind == 2:
                data[at:at] = rng.randbytes(rng.randrange(1, 40))
            else:
                del data[at:]
            if not data:
                break
        return bytes(data)

    def attack(self, seed, rounds, seen):
        """Sends damaged requests, and leaves in every way."""
        rng, address = random.Random(seed), self.peer.address
        for _ in range(rounds):
            with socket.create_connection(address) as connection:
                connection.settimeout(60)
                try:
                    connection.sendall(b"".join(self.damage(rng) for _ in range(rng.randrange(1, 4))))
                    if rng.randrange(4) == 0:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        continue  # and is gone
                    connection.shutdown(socket.SHUT_WR)
                    data = b""
                    while piece := connection.recv(65536):
                        data += piece
                    for status in map(int, re.findall(rb"HTTP/1\.[01] (\d{3}) ", data)):
                        seen[status] = seen.get(status, 0) + 1
                except OSError:
                    seen["cut"] = seen.get("cut", 0) + 1

    def hostile(self, seed, rounds):
        seen = {}
        threads = [threading.Thread(target=self.attack, args=(seed + n, rounds, seen)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return seen

    def test_hostile_clients_leave_nothing(self):
        pid = self.stack.pid("gateway-0")
        seen = self.hostile(1, 400)
        before = anonymous(pid)
        for seed in range(2, 5):
            for status, count in self.hostile(10 * seed, 250).items():
                seen[status] = seen.get(status, 0) + count
        self.assertEqual(self.stack.pid("gateway-0"), pid)
        print(f"{seen}; memory grew by {(anonymous(pid) - before) / 1e6:.2f} MB", flush=True)
        self.assertTrue({200, 400, 404} <= set(seen), seen)
        self.assertFalse(any(status != 503 and status >= 500 for status in seen if status != "cut"), seen)
        if not sanitized(pid):
            self.assertLess(anonymous(pid) - before, 4 << 20)
        metrics = lambda: self.good("GET", "/metrics")[1].decode()
        until("nothing is left", lambda: "\ninkling_gateway_open_requests 0\n" in metrics() and
              "\ninkling_gateway_open_bytes 0\n" in metrics())


class Load(HttpTest):
    """Clients with a connection each ask without a pause, in every form; each answer must be that of the version it names."""

    def run_client(self, number):
        rng, peer, asked = random.Random(number), Peer(self.url), 0
        try:
            while not self.ending and not self.wrong:
                asked += 1
                if number % 3 == 2:
                    self.pipelined(peer, rng)
                else:
                    self.one(peer, rng, f"{number}-{asked}")
        except Exception as problem:
            self.wrong.append(f"client {number}: {problem!r}")
        finally:
            peer.close()

    def check(self, version, index, label, bits):
        version = int(version)
        if self.expected[version][index] != (label, bits):
            raise AssertionError(f"version {version} answered {label} {bits} for image {index}")
        with self.lock:
            self.counts[version] += 1

    def check_tensors(self, peer, model, body, fields, indexes, id):
        status, got, data = peer.ask("POST", f"/v2/models/{model}/infer", body, fields)
        if status != 200:
            raise AssertionError(f"{status} {data[:300]}")
        _, version, found = outputs(got, data)
        length = int(got.get("Inference-Header-Content-Length", len(data)))
        if json.loads(data[:length])["id"] != id:
            raise AssertionError("the answer of another request")
        rows, each = found["probabilities"], len(found["probabilities"]) // len(indexes)
        for at, index in enumerate(indexes):
            best = max(rows[at * each:(at + 1) * each], key=lambda bits: struct.unpack("<f", bits))
            self.check(version, index, found["label"][at], best)

    def one(self, peer, rng, id):
        indexes = [rng.randrange(IMAGES) for _ in range(rng.choice([1, 1, 2, 5]))]
        pixels = b"".join(self.pixels[i] for i in indexes)
        files = [self.files[i] for i in indexes]
        shape, kind = [len(indexes), SIZE, SIZE, 1], rng.randrange(5)
        if kind == 0:
            self.check_tensors(peer, "tiny", *infer(tensor("pixels", "UINT8", shape, list(pixels)), id=id), indexes, id)
        elif kind == 1:
            made = infer(tensor("pixels", "UINT8", shape, size=len(pixels)), pixels, id=id, parameters={"binary_data_output": True})
            self.check_tensors(peer, "tiny", *made, indexes, id)
        elif kind == 2:
            data = b"".join(struct.pack("<I", len(file)) + file for file in files)
            self.check_tensors(peer, "tiny.image", *infer(tensor("image", "BYTES", [len(files)], size=len(data)), data, id=id), indexes, id)
        elif kind == 3:
            body, type = multipart({str(n): file for n, file in enumerate(files)})
            self.check_classified(*peer.ask("POST", "/v1/classify/tiny", body, {"Content-Type": type}), indexes)
        else:  # one that is wrong, between others
            status, _, data = peer.ask("POST", "/v2/models/tiny/infer", b"{")
            if status != 400:
                raise AssertionError(f"{status} {data[:300]}")

    def check_classified(self, status, _, data, indexes):
        if status != 200:
            raise AssertionError(f"{status} {data[:300]}")
        answers = json.loads(data)
        if len(answers) != len(indexes) or len({answer["version"] for answer in answers}) != 1:
            raise AssertionError(f"{answers}")
        for index, answer in zip(indexes, answers):
            self.check(answer["version"], index, answer["label"], struct.pack("<f", answer["probability"]))

    def pipelined(self, peer, rng):
        """Several requests at once on a connection: their answers in order."""
        indexes = [rng.randrange(IMAGES) for _ in range(6)]
        with socket.create_connection(peer.address) as connection:
            connection.settimeout(120)
            connection.sendall(b"".join(b"POST /v1/classify/tiny HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" %
                                        (len(self.files[i]), self.files[i]) for i in indexes))
            connection.shutdown(socket.SHUT_WR)
            data = b""
            while piece := connection.recv(65536):
                data += piece
        answers = [part for part in data.split(b"HTTP/1.1 ")[1:] if not part.startswith(b"100 ")]
        if len(answers) != len(indexes):
            raise AssertionError(f"{len(answers)} answers to {len(indexes)} requests: {data[:300]}")
        for index, answer in zip(indexes, answers):
            self.check_classified(int(answer[:3]), None, answer.split(b"\r\n\r\n", 1)[1], [index])

    def answers(self, version, count):
        """Waits for so many more answers of a version."""
        goal = self.counts[version] + count
        until(f"{count} answers of version {version}", lambda: self.wrong or self.counts[version] >= goal)

    def test_promotions_and_kills(self):
        for one, other in zip(self.expected[1], self.expected[2]):
            self.assertNotEqual(one, other)  # or the answers would not tell versions apart
        self.ending, self.wrong, self.lock, self.counts = False, [], threading.Lock(), {1: 0, 2: 0}
        threads = [threading.Thread(target=self.run_client, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            self.answers(1, 50)
            for _ in range(3):
                for version in (2, 1):
                    self.stack.ask("promote", f"tiny@{version}")
                    self.answers(version, 50)
            for name in ("dispatcher", "redis"):
                self.stack.kill(name)
                self.answers(1, 100)
            until("the stack is whole again", self.stack.ready)
            self.stack.ask("promote", "tiny@2")
            self.answers(2, 50)
        finally:
            self.ending = True
            for thread in threads:
                thread.join()
        self.assertEqual(self.wrong, [])
        print(f"{self.counts} answers by version", flush=True)


del HttpTest  # has no tests of its own

if __name__ == "__main__":
    unittest.main()
