"""Images without a library: gray PNG files of ten kinds of texture, and damaged files."""

import math
import os
import random
import struct
import zlib


def png(width, height, pixels):
    """Bytes of a PNG file of 8-bit gray pixels, row by row."""
    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + bytes(pixels[y * width:(y + 1) * width]) for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def empty_png(width, height):
    """A PNG file that declares width × height black pixels, one bit each, in few bytes."""
    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)) +
            chunk(b"IDAT", data) + chunk(b"IEND", b""))


def texture(kind, size, rng):
    """One image of texture `kind` (0 … 9): its place, phase, contrast and brightness are random."""
    phase, light, depth = rng.random() * math.tau, rng.uniform(90, 160), rng.uniform(40, 80)
    cx, cy = rng.uniform(0.35, 0.65) * size, rng.uniform(0.35, 0.65) * size
    radius = rng.uniform(0.22, 0.34) * size
    wave = [
        lambda x, y: math.sin(x * 0.8 + phase),
        lambda x, y: math.sin(y * 0.8 + phase),
        lambda x, y: math.sin((x + y) * 0.6 + phase),
        lambda x, y: math.sin((x - y) * 0.6 + phase),
        lambda x, y: math.sin(x * 0.9 + phase) * math.sin(y * 0.9 + phase) * 1.4,
        lambda x, y: math.sin(math.hypot(x - cx, y - cy) * 0.9 + phase),
        lambda x, y: 1 if math.hypot(x - cx, y - cy) < radius else -1,
        lambda x, y: 1 if max(abs(x - cx), abs(y - cy)) < radius else -1,
        lambda x, y: 1 if min(abs(x - cx), abs(y - cy)) < radius / 3 else -1,
        lambda x, y: 1 if abs(math.hypot(x - cx, y - cy) - radius) < radius / 4 else -1,
    ][kind]
    pixels = bytes(min(255, max(0, int(light + depth * wave(x, y) + rng.gauss(0, 14))))
                   for y in range(size) for x in range(size))
    return png(size, size, pixels)


def textures(folder, per_kind, size, seed, kinds=10):
    """folder/kind-K/N.png; returns the folder."""
    rng = random.Random(seed)
    for kind in range(kinds):
        place = os.path.join(folder, f"kind-{kind}")
        os.makedirs(place)
        for n in range(per_kind):
            with open(os.path.join(place, f"{n}.png"), "wb") as file:
                file.write(texture(kind, size, rng))
    return folder
