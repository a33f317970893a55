"""Does another implementation of msgpack read our bytes, and write the same ones?

golden.py FILE: every line of the golden file, decoded and encoded by Python's msgpack.
"""
import json
import sys

import msgpack


def same(a, b):
    """Equal, and of the same type but for 1 and 1.0: JSON writers differ in these."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, bytes):
        return a.hex() == b
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def main(path):
    bad = lines = 0
    for line in open(path, encoding="ascii"):
        entry = json.loads(line)
        wire = bytes.fromhex(entry["hex"])
        value = msgpack.unpackb(wire)
        lines += 1
        if not same(value, entry["value"]):
            bad += 1
            print(f'{entry["type"]} {entry["case"]}: decoded {value}, expected {entry["value"]}')
        if msgpack.packb(value) != wire:
            bad += 1
            print(f'{entry["type"]} {entry["case"]}: packs as {msgpack.packb(value).hex()}')
    print(f"{lines} lines, {bad} differences")
    return 1 if bad or not lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
