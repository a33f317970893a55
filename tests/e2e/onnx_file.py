"""What an ONNX file says about itself, read by hand: protocol buffers are pairs of a number and a value."""


def varint(data, at):
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    """The (field, value) pairs of a message; a message or text within it is bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        else:
            size, at = varint(data, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
            value, at = data[at:at + size], at + size
        yield key >> 3, value


def values(data, field):
    return [value for number, value in fields(data) if number == field]


def metadata(data):
    """The metadata_props (14) of a ModelProto, as text."""
    return {values(entry, 1)[0].decode(): values(entry, 2)[0].decode() for entry in values(data, 14)}


def initialisers(data):
    """Name (8) and raw_data (9) of the initializers (5) of the graph (7)."""
    graph, = values(data, 7)
    return {values(tensor, 8)[0].decode(): values(tensor, 9)[0] for tensor in values(graph, 5)}
