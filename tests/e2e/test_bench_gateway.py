"""The load generator tells what a gateway did: rates, times, versions and every kind of error, and never looks away."""

import json
import os
import pathlib
import signal
import time
import unittest

from images import textures
from stack import StackTest, free_port, until

MODEL = ("--epochs", 1, "--width", 4)


def has_timer(pid):
    """The load generator makes its timer once it knows that the gateway is there."""
    try:
        return any(os.readlink(link) == "anon_inode:[timerfd]" for link in pathlib.Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:  # closed meanwhile
        return False


class BenchGateway(StackTest):
    settings = {"threads": 1}

    @classmethod
    def prepare(cls):
        cls.images = cls.stack.path("images")
        textures(cls.images, 12, 16, 20, kinds=2)
        cls.stack.ask("ingest", cls.images, "--name", "two", "--size", 16)
        cls.stack.ask("train", "two", *MODEL, "--seed", 1)
        cls.stack.ask("train", "two", *MODEL, "--seed", 2)
        cls.files = sorted(str(path) for path in pathlib.Path(cls.images).rglob("*.*"))
        cls.stack.ask("classify", cls.files[0])  # the model is loaded

    def bench(self, *words, code=0):
        return self.stack.ask("bench", "gateway", *words, code=code)

    def whole(self, report, load):
        """Every request of a report without errors has ended well."""
        requests = report["requests"]
        self.assertEqual(report["errors"], [])
        self.assertGreater(requests["offered"], 0)
        self.assertEqual(requests["answered"], requests["offered"])
        self.assertEqual((requests["failed"], requests["unfinished"], requests["failed_before"]), (0, 0, 0))
        points = [report["latency_ms"][name] for name in ("p50", "p90", "p99", "p99.9", "p99.99", "max")]
        self.assertEqual(points, sorted(points))
        self.assertGreater(points[0], 0)
        self.assertEqual({key: report["load"][key] for key in load}, load)

    def test_open_loop_of_files(self):
        report = self.bench("two", *self.files[:5], "--rate", 50, "--arrivals", "poisson", "--seed", 3, "--seconds", 2,
                            "--timeout-ms", 600000, "--check")
        self.whole(report, {"rate": 50, "arrivals": "poisson", "images": 1, "connections": 1})
        again = self.bench("two", *self.files[:5], "--rate", 50, "--arrivals", "poisson", "--seed", 3, "--seconds", 2,
                           "--timeout-ms", 600000, "--check")
        self.assertEqual(again["requests"]["offered"], report["requests"]["offered"])
        constant = self.bench("two", self.files[0], "--rate", 50, "--seconds", 2, "--timeout-ms", 600000)
        self.assertEqual(constant["requests"]["offered"], 100)

    def test_closed_loop_of_pixels(self):
        for words in (("two",), ()):
            report = self.bench(*words, "--form", "pixels", "--concurrency", 8, "--seconds", 1, "--images", 3,
                                "--connections", 2, "--timeout-ms", 600000, "--check")
            self.whole(report, {"concurrency": 8, "images": 3, "connections": 2})
            self.assertEqual([entry["model"] for entry in report["versions"]], ["two"])

    def test_drawn_images(self):
        self.whole(self.bench("--seconds", 1, "--timeout-ms", 600000, "--check"), {"concurrency": 1})

    def test_promotion_under_load(self):
        load = self.stack.start("bench", "gateway", "two", "--form", "pixels", "--rate", 200, "--seconds", 4,
                                "--timeout-ms", 600000, "--check", "--json")
        for version in (2, 1, 2, 1):
            self.stack.ask("promote", f"two@{version}")
        out, err = load.communicate()
        self.assertEqual(load.returncode, 0, out + err)
        self.assertEqual(json.loads(out)["errors"], [])

    def test_http(self):
        words = ("--protocol", "http", "--concurrency", 3, "--seconds", 1, "--timeout-ms", 600000, "--check")
        for form in ("image", "pixels", "json", "bytes"):
            for images in (1, 3):
                with self.subTest(form=form, images=images):
                    report = self.bench("two@1", *words, "--form", form, "--images", images)
                    self.whole(report, {"concurrency": 3, "images": images, "connections": 3})
                    self.assertEqual([(entry["model"], entry["version"]) for entry in report["versions"]], [("two", 1)])
        self.whole(self.bench(*words, "--form", "pixels"), {})  # the model promoted last
        self.whole(self.bench("two", *self.files[:2], *words, "--url", self.stack.ask("status")["gateway"]["http"]), {})

    def test_promotion_under_load_over_http(self):
        load = self.stack.start("bench", "gateway", "two", "--protocol", "http", "--form", "pixels", "--rate", 200, "--seconds",
                                4, "--timeout-ms", 600000, "--check", "--json")
        for version in (2, 1, 2, 1):
            self.stack.ask("promote", f"two@{version}")
        out, err = load.communicate()
        self.assertEqual(load.returncode, 0, out + err)
        self.assertEqual(json.loads(out)["errors"], [])

    def test_errors_over_http(self):
        words = ("--protocol", "http", "--seconds", 1, "--timeout-ms", 600000)
        report = self.bench("nobody", self.files[0], *words, code=1)
        self.assertEqual([error["kind"] for error in report["errors"]], ["HTTP 404 NOT_FOUND"])
        self.assertEqual(self.bench("nobody", *words, "--form", "pixels", code=3)["error"]["code"], "NOT_FOUND")
        gone = f"http://127.0.0.1:{free_port()}"
        self.assertEqual(self.bench("two", *words, "--url", gone, code=4)["error"]["code"], "UNAVAILABLE")

    def test_a_version_alone(self):
        report = self.bench("two@2", "--form", "pixels", "--seconds", 1, "--timeout-ms", 600000, "--check")
        self.assertEqual([entry["version"] for entry in report["versions"]], [2])

    def test_errors_have_kinds(self):
        broken = self.stack.path("broken.jpg")
        pathlib.Path(broken).write_bytes(pathlib.Path(self.files[0]).read_bytes()[:100])
        words = ("two", broken, self.files[0], "--seconds", 1, "--timeout-ms", 600000, "--check")
        report = self.bench(*words, code=1)
        self.assertEqual(len(report["errors"]), 1, report["errors"])
        self.assertIn(report["errors"][0]["kind"], ("CORRUPT", "INVALID"))
        self.assertGreater(report["requests"]["answered"], 0)
        self.assertEqual(report["requests"]["answered"] + report["requests"]["failed"], report["requests"]["offered"])
        self.bench(*words, "--allow-errors")
        none = self.bench("nobody", self.files[0], "--seconds", 1, "--allow-errors", code=1)  # nothing was answered
        self.assertEqual([error["kind"] for error in none["errors"]], ["NOT_FOUND"])

    def test_words_that_do_not_fit(self):
        for words in (("--rate", 5, "--concurrency", 5), ("--arrivals", "poisson"), ("--form", "json"),
                      ("two", self.files[0], "--form", "pixels"), ("two@x",), ("--url", "ftp://a", "--protocol", "http")):
            with self.subTest(words):
                error = self.bench(*words, code=2)["error"]
                self.assertEqual(error["code"], "USAGE")
                self.assertTrue(error["remedy"])
        self.assertEqual(self.bench("two", "/nowhere.jpg", code=3)["error"]["code"], "NOT_FOUND")

    def test_a_gateway_that_dies_is_seen(self):
        load = self.stack.start("bench", "gateway", "two", "--form", "pixels", "--rate", 200, "--seconds", 3600, "--warmup", 0,
                                "--timeout-ms", 2000, "--json")
        until("the load runs", lambda: has_timer(load.pid))
        pid = self.stack.pid("gateway-0")
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.5)  # what comes now is lost with it
        os.kill(pid, signal.SIGKILL)
        until("the gateway is back", lambda: self.stack.pid("gateway-0") not in (0, pid) and self.stack.ready())
        time.sleep(2.5)  # until what was lost is given up
        load.send_signal(signal.SIGINT)
        out, err = load.communicate()
        self.assertEqual(load.returncode, 130, out + err)
        report = json.loads(out)
        requests = report["requests"]
        self.assertEqual([error["kind"] for error in report["errors"]], ["no answer"])
        self.assertEqual(report["errors"][0]["count"], requests["failed"])
        self.assertGreater(requests["answered"], 0)
        self.assertEqual(requests["answered"] + requests["failed"] + requests["unfinished"], requests["offered"])


if __name__ == "__main__":
    unittest.main()
