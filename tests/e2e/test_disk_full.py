"""The disk below Redis runs full: no acknowledged job is lost, and all goes on when there is room again."""

import os
import subprocess
import unittest

from stack import StackTest, until

DISK_MB = 16


def mount(folder):
    """A small disk at the folder; says why not, or nothing."""
    os.makedirs(folder)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "inkling-test", folder],
                          capture_output=True, text=True, check=False)
    return done.stderr.strip()


class DiskFull(StackTest):
    settings = {"disk_reserve_mb": 0}  # the dispatcher's own guard would refuse long before

    @classmethod
    def setUpClass(cls):
        cls.disk = None
        super().setUpClass()

    @classmethod
    def before_up(cls):
        disk = cls.stack.path("redis")
        why_not = mount(disk)
        if why_not:
            raise unittest.SkipTest(f"NOT TESTED: a full disk needs the right to mount one: {why_not}")
        cls.disk = disk

    @classmethod
    def tearDownClass(cls):
        cls.stack.down()
        if cls.disk:
            subprocess.run(["umount", "--lazy", cls.disk], check=True)
        cls.stack.remove()

    def fill(self, leave):
        """The path of a file that takes all room but `leave` bytes."""
        path = os.path.join(self.disk, "filler")
        with open(path, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                file.truncate(file.tell() - leave)
        return path

    def test_no_acknowledged_job_is_lost(self):
        dispatcher = self.stack.pid("dispatcher")
        filler = self.fill(leave=64 << 10)
        jobs, code = [], 0
        while code == 0 and len(jobs) < 1000:
            code, out, err = self.stack.run("submit", "play", '{"x": "' + 1000 * "x" + '"}', "--detach")
            if code == 0:
                jobs.append(out.strip())
        self.assertEqual(code, 4, err)
        self.assertGreater(len(jobs), 5)
        until("Redis has given up", lambda: not self.stack.ready())
        os.remove(filler)
        until("all is ready again", self.stack.ready)
        self.assertEqual(self.stack.pid("dispatcher"), dispatcher)
        for job in jobs:
            self.assertEqual(self.stack.ask("job", "show", job)["state"], "queued")
        self.stack.ask("submit", "play", "{}", "--detach")


if __name__ == "__main__":
    unittest.main(verbosity=2)
