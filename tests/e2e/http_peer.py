"""Clients of the gateway's HTTP door, by the standard library alone, and bodies for it."""

import http.client
import json
import random
import struct
import urllib.parse
import zlib

from images import png

SIZE = 24  # of images that the models of these tests take as they are


class Peer:
    """One connection, opened again when it was closed."""

    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        self.address = parts.hostname, parts.port
        self.connection = http.client.HTTPConnection(*self.address, timeout=120)

    def ask(self, method, path, body=None, headers=None):
        """Status, fields, bytes."""
        headers = headers or {}
        self.connection.request(method, path, body, headers, encode_chunked="Transfer-Encoding" in headers)
        response = self.connection.getresponse()
        return response.status, response.headers, response.read()

    def close(self):
        self.connection.close()


def drawn(seed):
    """Pixels of a gray image of SIZE × SIZE, and the same as a PNG file."""
    rng = random.Random(seed)
    step, shift = rng.randrange(1, 40), rng.randrange(256)
    pixels = bytes((x * step + y * rng.randrange(1, 9) + shift) % 256 for y in range(SIZE) for x in range(SIZE))
    return pixels, png(SIZE, SIZE, pixels)


def multipart(files, boundary="0123456789abcdef"):
    """Body of files (name → bytes), and its Content-Type."""
    body = b"".join(b"--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%s\"\r\n"
                    b"Content-Type: image/png\r\n\r\n%s\r\n" % (boundary.encode(), name.encode(), data)
                    for name, data in files.items())
    return body + b"--%s--\r\n" % boundary.encode(), f"multipart/form-data; boundary={boundary}"


def tensor(name, datatype, shape, data=None, size=None):
    made = {"name": name, "datatype": datatype, "shape": shape}
    if data is not None:
        made["data"] = data
    if size is not None:
        made["parameters"] = {"binary_data_size": size}
    return made


def infer(tensor, binary=b"", outputs=None, **more):
    """Body and fields of a request to infer."""
    document = {"inputs": [tensor], **more}
    if outputs is not None:
        document["outputs"] = outputs
    text = json.dumps(document).encode()
    return text + binary, {"Inference-Header-Content-Length": str(len(text))} if binary else {}


def texts(data):
    """The elements of a BYTES tensor."""
    found = []
    while data:
        size, = struct.unpack_from("<I", data)
        found.append(data[4:4 + size].decode())
        data = data[4 + size:]
    return found


def outputs(fields, body):
    """Model, version, outputs by their names: floats by their bits, or texts."""
    length = int(fields.get("Inference-Header-Content-Length", len(body)))
    document, rest, found = json.loads(body[:length]), body[length:], {}
    for output in document["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            data = output["data"]
            found[output["name"]] = [struct.pack("<f", x) for x in data] if output["datatype"] == "FP32" else data
            continue
        piece, rest = rest[:size], rest[size:]
        found[output["name"]] = ([piece[i:i + 4] for i in range(0, size, 4)]
                                 if output["datatype"] == "FP32" else texts(piece))
    if rest:
        raise AssertionError(f"{len(rest)} bytes are behind the outputs")
    return document["model_name"], document["model_version"], found


def bomb(side):
    """A PNG file that says it has side × side pixels, and has few bytes."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
