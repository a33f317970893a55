"""Over tcp a stack with keys serves whom it knows, tells everybody else why not, and lives on."""

import os
import random
import socket
import subprocess
import time
import unittest

import msgpack
import zmq

from stack import Stack, StackTest, free_port, until


def read_key(path):
    """The fields of a file of keys, as a client in any language reads them."""
    with open(path) as file:
        lines = [line.strip().partition(" = ") for line in file if line.strip() and not line.startswith("#")]
    return {name: value for name, _, value in lines}


class Keys(StackTest):
    @classmethod
    def before_up(cls):
        cls.ports = {"dispatcher": free_port(), "gateway": free_port()}
        cls.stack.ask("keys", "init")
        cls.key = cls.make_key(cls.stack, "laptop")
        for service, port in cls.ports.items():
            cls.stack.environ[f"INKLING_{service.upper()}_LISTEN"] = f"tcp://127.0.0.1:{port}"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = Stack()  # another stack's folder, and a client's: nothing runs there
        cls.other.ask("keys", "init")

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        if hasattr(cls, "other"):
            cls.other.remove()

    @staticmethod
    def make_key(stack, name):
        return stack.ask("keys", "client", name, "--file", stack.path(name + ".key"))["file"]

    def endpoint(self, service="dispatcher"):
        return f"tcp://127.0.0.1:{self.ports[service]}"

    def far(self, *args, key=None, code=0, **settings):
        """A command of a client elsewhere: only addresses and a key."""
        client = Stack(dispatcher=self.endpoint(), gateway=self.endpoint("gateway"), **settings)
        if key:
            client.environ["INKLING_CLIENT_KEY"] = key
        try:
            return client.ask(*args, code=code)
        finally:
            client.remove()

    def log_says(self, words, again, service="dispatcher"):
        """Refusals are logged rarely, so they are repeated until this one is."""
        def said():
            again()
            with open(self.stack.path("logs", service + ".log")) as file:
                return words in file.read()
        until(f"'{words}' in the log of {service}", said)

    def refused(self, words, *args, code=4, name="DENIED", **more):
        error = self.far(*args, code=code, **more)["error"]
        self.assertEqual(error["code"], name, error)
        self.assertIn(words, error["message"])
        self.assertTrue(error["remedy"])

    def test_a_known_client(self):
        job = self.far("submit", "play", '{"n": 1}', "--detach", key=self.key)["job"]
        self.assertEqual(self.far("job", "show", job, key=self.key)["state"], "queued")
        self.far("job", "cancel", job, key=self.key)
        error = self.far("classify", __file__, key=self.key, code=3)["error"]
        self.assertIn("no model is promoted", error["message"])

    def test_without_a_key(self):
        def ask():
            self.refused("wants a key, and this client has none", "workers")
            self.refused("wants a key", "classify", __file__)
        self.log_says("it came without a key", ask)
        self.log_says("it came without a key", ask, "gateway-0")

    def test_with_the_key_of_another_stack(self):
        key = self.make_key(self.other, "eve")
        self.log_says("its key was made for another stack",
                      lambda: self.refused("breaks off when it sees the key", "workers", key=key))

    def test_with_a_key_that_was_withdrawn(self):
        key = self.make_key(self.stack, "guest")
        self.assertIn("guest", self.stack.ask("keys", "show")["clients"])
        self.far("workers", key=key)
        os.remove(self.stack.path("keys", "clients", "guest.pub"))
        self.log_says("its key is none of those that may connect",
                      lambda: self.refused("refuses the key of this client, guest", "workers", key=key))
        self.far("workers", key=self.key)

    def test_wrong_files(self):
        server = self.stack.path("keys", "server.key")
        self.refused("is a stack's own key", "workers", key=server, code=2, name="INVALID")
        self.refused("No such file", "workers", key="/nowhere", code=3, name="NOT_FOUND")
        key = self.make_key(self.stack, "careless")
        os.chmod(key, 0o644)
        self.refused("others than its owner may read it", "workers", key=key, code=2, name="INVALID")

    def test_a_stack_without_keys(self):
        plain = Stack(dispatcher_listen=f"tcp://127.0.0.1:{free_port()}")
        try:
            plain.up()
            address = plain.environ["INKLING_DISPATCHER_LISTEN"]
            client = Stack(dispatcher=address)
            client.ask("workers")
            client.environ["INKLING_CLIENT_KEY"] = self.key
            error = client.ask("workers", code=4)["error"]
            self.assertEqual(error["code"], "DENIED")  # which side sees it first is chance
            self.assertIn("without keys", error["remedy"])
            client.remove()
            plain.down()
            plain.environ["INKLING_DISPATCHER_LISTEN"] = f"tcp://0.0.0.0:{free_port()}"
            error = plain.ask("up", "--detach", code=4)["error"]
            self.assertIn("dispatcher", error["message"])
            self.assertIn("refused to bind tcp://0.0.0.0", plain.logs())
            self.assertIn("inkling keys init", plain.logs())
        finally:
            plain.down()
            plain.remove()

    def test_a_taken_port(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            stack = Stack(dispatcher_listen=f"tcp://127.0.0.1:{taken.getsockname()[1]}")
            try:
                stack.ask("up", "--detach", code=4)
                self.assertIn("cannot bind tcp://127.0.0.1", stack.logs())
                self.assertIn("choose a free one", stack.logs())
            finally:
                stack.down()
                stack.remove()

    def test_strangers_change_nothing(self):
        """Random bytes, half a handshake, HTTP, and ZMTP without keys, at both ports."""
        rng = random.Random(8)
        pids = {name: self.stack.pid(name) for name in ("dispatcher", "gateway-0")}
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)
        hellos = [rng.randbytes(rng.randrange(1, 3000)) for _ in range(40)]
        hellos += [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", greeting, greeting + rng.randbytes(500),
                   greeting[:20], greeting + b"\x04\xc8\x05HELLO" + rng.randbytes(194)]
        for port in self.ports.values():
            for hello in hellos:
                with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
                    stranger.sendall(hello)
        context = zmq.Context()
        for service in self.ports:
            dealer = context.socket(zmq.DEALER)
            dealer.linger = 0
            dealer.connect(self.endpoint(service))
            dealer.send_multipart([msgpack.packb({"v": 1, "type": "ping", "id": 1}), b"\x80"])
            self.assertEqual(dealer.poll(500), 0)
            dealer.close()
        context.term()
        for name, pid in pids.items():
            self.assertEqual(self.stack.pid(name), pid)
        self.far("workers", key=self.key)

    def test_a_client_in_python(self):
        """As proto/PROTOCOL.md says."""
        key = read_key(self.key)
        context = zmq.Context()
        dealer = context.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.curve_serverkey = key["server"].encode()
        dealer.curve_publickey = key["public"].encode()
        dealer.curve_secretkey = key["secret"].encode()
        dealer.connect(self.endpoint())
        dealer.send_multipart([msgpack.packb({"v": 1, "type": "ping", "id": 7}), b"\x80"])
        self.assertTrue(dealer.poll(30000))
        header = msgpack.unpackb(dealer.recv_multipart()[0])
        self.assertEqual((header["type"], header["id"]), ("pong", 7))
        dealer.close()
        context.term()

    def test_a_worker_elsewhere(self):
        """It shows up, and it comes back after the dispatcher was killed."""
        far = Stack(dispatcher=self.endpoint(), client_key=self.key, name="far-%h")  # %h: this host
        name = "far-" + socket.gethostname().split(".")[0]
        program = os.path.join(os.path.dirname(os.environ["INKLING_BIN"] + "/"), "inkling-trainer")
        with open(far.path("log"), "w") as log:
            worker = subprocess.Popen([program], env=far.environ, stdout=log, stderr=log)
        try:
            def here():
                return name in [w["worker"] for w in self.stack.ask("workers") if w["state"] == "idle"]
            until("the far worker is here", here, 60)
            self.stack.kill("dispatcher")
            time.sleep(0.2)
            until("the stack is ready again", self.stack.ready)
            until("the far worker is back", here, 60)
        finally:
            worker.terminate()
            self.assertEqual(worker.wait(60), 0)
            far.remove()

    def test_secrets_are_in_no_log(self):
        secrets = [read_key(self.key)["secret"], read_key(self.stack.path("keys", "server.key"))["secret"]]
        text = self.stack.logs() + str(self.stack.ask("status")) + str(self.stack.ask("keys", "show"))
        for secret in secrets:
            self.assertNotIn(secret, text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
