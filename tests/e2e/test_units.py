"""ops/systemd: are the units sound, and do they leave a worker the time that it takes to give its job back?"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

BIN = os.environ["INKLING_BIN"]
ROOT = pathlib.Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "ops" / "systemd").glob("*/*.service"))


class Units(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="units-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def test_verify(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("NOT TESTED: the units of ops/systemd need systemd-analyze, and there is none")
        self.assertEqual(len(UNITS), 4)
        for unit in UNITS:
            # As an instance, of the programs under test.
            copy = self.folder / unit.parent.name / unit.name.replace("@", "@lab")
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(unit.read_text().replace("/usr/local/bin", BIN))
            scope = ["--user"] if unit.parent.name == "user" else []
            environ = dict(os.environ, XDG_RUNTIME_DIR=str(self.folder), SYSTEMD_LOG_LEVEL="warning")
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", *scope, str(copy)], env=environ,
                                  capture_output=True, text=True, check=False)
            told = [line for line in (done.stdout + done.stderr).splitlines() if "inkling" in line]
            self.assertEqual((done.returncode, told), (0, []), unit)

    def test_the_time_to_drain(self):
        text = (ROOT / "common" / "worker" / "worker.c").read_text()
        drain_ms = sum(int(re.search(rf"#define {name}_MS +(\d+)", text)[1]) for name in ("RELEASE", "TELL", "BYE"))
        for unit in UNITS:
            stop_s = int(re.search(r"^TimeoutStopSec=(\d+)$", unit.read_text(), re.M)[1])
            self.assertGreater(1000 * stop_s, drain_ms, unit)


if __name__ == "__main__":
    unittest.main(verbosity=2)
