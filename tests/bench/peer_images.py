"""A folder of images read by Pillow or Keras, for tests/bench/ingest: peer_images.py NAME DIR SIZE THREADS

NAME: pillow, pillow_draft (the JPEG decoder shrinks, so that less is decoded) or keras. Says in one JSON line how many
images there are, then answers each line "all" with the seconds it took to decode and resize all of them to SIZE x SIZE
gray pixels, and to write these to a file.
"""
import concurrent.futures
import functools
import json
import os
import sys
import tempfile
import time

import numpy as np


def read_one(job):
    from PIL import Image
    path, size, draft = job
    with Image.open(path) as image:
        if draft:
            image.draft("L", (size, size))
        return np.asarray(image.convert("L").resize((size, size), Image.Resampling.BOX))


class Pillow:
    """A process per core: decoding in threads waits for the interpreter too often."""

    def __init__(self, folder, size, threads, draft=False):
        self.jobs = [(os.path.join(place, name), size, draft) for place, _, names in sorted(os.walk(folder))
                     for name in sorted(names)]
        self.pool = concurrent.futures.ProcessPoolExecutor(threads)

    def read(self):
        return np.stack(list(self.pool.map(read_one, self.jobs, chunksize=16)))


class Keras:
    """Its own way from a folder of classes to batches, which uses all cores by itself."""

    def __init__(self, folder, size, threads):
        import keras
        self.batches = keras.utils.image_dataset_from_directory(
            folder, color_mode="grayscale", image_size=(size, size), batch_size=32, shuffle=False, verbose=False)

    def read(self):
        return np.concatenate([images.numpy().astype(np.uint8) for images, _ in self.batches])


def main():
    name, folder, size, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    peers = {"pillow": Pillow, "pillow_draft": functools.partial(Pillow, draft=True), "keras": Keras}
    peer = peers[name](folder, size, threads or len(os.sched_getaffinity(0)))
    print(json.dumps({"images": len(peer.read())}), flush=True)
    for line in sys.stdin:
        if line != "all\n":
            sys.exit(f"unknown: {line}")
        begin = time.monotonic()
        with tempfile.TemporaryFile() as file:
            np.save(file, peer.read())
        print(f"{time.monotonic() - begin:.6f}", flush=True)


if __name__ == "__main__":
    main()
