"""Folders of images in, a trained model out, images classified: every step a job, every answer as promised."""

import csv
import os
import shutil
import unittest

from images import texture, textures
from stack import StackTest

import random

SMALL = ("--width", 8, "--depth", 3, "--epochs", 3, "--seed", 3)


class MainJob(StackTest):
    @classmethod
    def prepare(cls):
        stack = cls.stack
        cls.images = stack.path("images")
        stack.ask("demo-data", cls.images, "--count", 120, "--seed", 5)
        cls.ingested = stack.ask("ingest", cls.images, "--name", "heads", "--size", 32, "--group-by", "stem")
        cls.trained = stack.ask("train", "heads", *SMALL)

    def test_ingest_answers(self):
        self.assertLessEqual({"job", "state", "dataset", "version", "images", "rejected", "duplicates", "classes",
                              "splits"}, set(self.ingested))
        self.assertEqual(self.ingested["state"], "succeeded")
        self.assertEqual(self.ingested["classes"], ["comics", "photos"])
        self.assertEqual((self.ingested["images"], self.ingested["rejected"], self.ingested["version"]), (120, 0, 1))
        splits = self.ingested["splits"]
        self.assertEqual(set(splits), {"train", "val", "test"})
        self.assertEqual(sum(splits.values()), 120)
        self.assertEqual(splits["train"], 96)

    def test_train_answers(self):
        got = self.trained
        self.assertLessEqual({"job", "state", "model", "version", "best_epoch", "images_per_second", "exact",
                              "weights_sha256", "history", "test"}, set(got))
        self.assertEqual((got["state"], got["model"], got["version"]), ("succeeded", "heads", 1))
        self.assertRegex(got["weights_sha256"], r"\A[0-9a-f]{64}\Z")
        self.assertGreater(got["images_per_second"], 0)
        self.assertEqual([epoch["epoch"] for epoch in got["history"]], [1, 2, 3])
        for epoch in got["history"]:
            self.assertLessEqual({"epoch", "loss", "accuracy", "val_loss", "val_accuracy"}, set(epoch))
        best = min(got["history"], key=lambda epoch: epoch["val_loss"])
        self.assertEqual(got["best_epoch"], best["epoch"])
        self.assertLessEqual({"accuracy", "loss", "auc", "confusion"}, set(got["test"]))
        confusion = got["test"]["confusion"]
        self.assertEqual(sum(map(sum, confusion)), self.ingested["splits"]["test"])
        right = sum(confusion[n][n] for n in range(2))
        self.assertAlmostEqual(got["test"]["accuracy"], right / sum(map(sum, confusion)), places=6)

    def test_same_seed_same_weights_other_seed_other(self):
        again = self.stack.ask("train", "heads", "--model", "again", *SMALL)
        self.assertEqual(again["weights_sha256"], self.trained["weights_sha256"])
        self.assertEqual(again["history"], self.trained["history"])
        other = self.stack.ask("train", "heads", "--model", "other", *SMALL[:-1], 4)
        self.assertNotEqual(other["weights_sha256"], self.trained["weights_sha256"])

    def test_evaluate_agrees_with_training(self):
        got = self.stack.ask("evaluate", "heads", "heads")
        self.assertEqual(got["state"], "succeeded")
        for key in ("accuracy", "confusion"):
            self.assertEqual(got[key], self.trained["test"][key])
        for key in ("loss", "auc"):
            self.assertAlmostEqual(got[key], self.trained["test"][key], places=6)

    def test_predict_and_classify_agree(self):
        out = self.stack.path("labels.csv")
        done = self.stack.ask("predict", self.images, "--model", "heads", "--out", out)
        self.assertEqual(done["state"], "succeeded")
        with open(out, newline="") as file:
            rows = list(csv.reader(file))
        self.assertEqual(len(rows), 121)
        files = sorted(os.path.join(self.images, kind, name) for kind in ("comics", "photos")
                       for name in os.listdir(os.path.join(self.images, kind)))[::17]
        answers = self.stack.ask("classify", *files)
        self.assertEqual([set(answer) for answer in answers],
                         [{"file", "label", "probability", "model", "version"}] * len(files))
        self.assertEqual([answer["file"] for answer in answers], files)
        head = rows[0]
        path, label = head.index("path") if "path" in head else head.index("file"), head.index("label")
        said = {os.path.join(self.images, row[path]): row[label] for row in rows[1:]}
        for answer in answers:
            self.assertEqual(answer["label"], said[answer["file"]])
            self.assertEqual((answer["model"], answer["version"]), ("heads", 1))
            self.assertGreaterEqual(answer["probability"], 0.5)

    def test_a_bad_image_is_an_error_of_its_own(self):
        good = os.path.join(self.images, "photos", os.listdir(os.path.join(self.images, "photos"))[0])
        bad = self.stack.path("text file\nnamed ä.jpg")
        with open(bad, "w") as file:
            file.write("no image")
        answers = self.stack.ask("classify", good, bad, good, code=1)
        self.assertEqual([answer["file"] for answer in answers], [good, bad, good])
        self.assertIn("error", answers[1])
        self.assertEqual(answers[0], answers[2])
        self.assertIn("label", answers[0])

    def test_versions(self):
        second = self.stack.ask("train", "heads", "--model", "twice", *SMALL[:-3], 1, "--seed", 1)
        third = self.stack.ask("train", "heads", "--model", "twice", *SMALL[:-3], 1, "--seed", 2,
                               "--init", "twice@1")
        self.assertEqual((second["version"], third["version"]), (1, 2))
        image = os.path.join(self.images, "photos", os.listdir(os.path.join(self.images, "photos"))[0])
        self.assertEqual(self.stack.ask("classify", image, "--model", "twice")[0]["version"], 1)
        self.assertEqual(self.stack.ask("classify", image, "--model", "twice@2")[0]["version"], 2)
        self.assertIn("error", self.stack.ask("model", "rm", "twice@1", code=1))
        self.stack.ask("promote", "twice@2")
        self.assertEqual(self.stack.ask("classify", image)[0]["version"], 2)
        self.stack.ask("promote", "heads@1")
        self.stack.ask("model", "rm", "twice@1")
        self.stack.ask("model", "show", "twice@1", code=3)

    def test_new_images_leave_old_ones_in_their_split(self):
        folder = self.stack.path("growing")
        shutil.copytree(self.images, folder)
        first = self.stack.ask("ingest", folder, "--name", "growing", "--size", 32)
        self.assertEqual(first["version"], 1)
        for n in range(20):
            with open(os.path.join(folder, "photos", f"new {n}.png"), "wb") as file:
                file.write(texture(n % 10, 40, random.Random(n)))
        second = self.stack.ask("ingest", folder, "--name", "growing", "--size", 32)
        self.assertEqual((second["version"], second["images"]), (2, 140))
        self.assertEqual(second["splits"]["train"], 112)


class TenClasses(StackTest):
    def test_ten_textures(self):
        folder = textures(self.stack.path("textures"), 100, 32, seed=11)
        ingested = self.stack.ask("ingest", folder, "--name", "textures", "--size", 32)
        self.assertEqual(ingested["classes"], [f"kind-{n}" for n in range(10)])
        trained = self.stack.ask("train", "textures", "--width", 16, "--depth", 3, "--epochs", 8, "--seed", 1)
        self.assertEqual([len(row) for row in trained["test"]["confusion"]], [10] * 10)
        self.assertGreaterEqual(trained["test"]["accuracy"], 0.97)
        self.assertGreaterEqual(trained["test"]["auc"], 0.99)


if __name__ == "__main__":
    unittest.main(verbosity=2)
