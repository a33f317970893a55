#!/usr/bin/env python3
# classify.py: asks the gateway what is in some image files.
#   classify.py ENDPOINT MODEL FILE...      MODEL: NAME, NAME@VERSION, or "" for the one promoted last
import sys
import msgpack, zmq


def main(endpoint, model, *files):
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(endpoint)
    images = [open(file, "rb").read() for file in files]  # as they are: the gateway decodes them
    header = {"v": 1, "type": "classify", "id": 1, "deadline_ms": 30000}
    socket.send_multipart([msgpack.packb(header), msgpack.packb({"model": model}), *images])
    if not socket.poll(30000):
        sys.exit("no answer from the gateway")
    header, body = map(msgpack.unpackb, socket.recv_multipart()[:2])
    if header["type"] == "error":
        sys.exit("{code}: {message}".format(**body))
    for file, result in zip(files, body["results"]):
        if "error" in result:
            print(file, "error", result["error"]["message"])
        else:
            print(file, result["label"], f'{result["probability"]:.4f}',
                  f'{result["model"]}@{result["version"]}')
    return 1 if any("error" in result for result in body["results"]) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
