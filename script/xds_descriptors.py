#!/usr/bin/env python3
"""Takes the xDS messages' descriptors out of the wheel xds-protos, without installing it.

    xds_descriptors.py WHEEL OUT_DIR ROOT.proto...

Each generated Python module in the wheel holds its file's serialized FileDescriptorProto as a
literal. Those of the roots and of all they import, google/protobuf/* left out, are written in
order of dependence to OUT_DIR/xds.pb, a FileDescriptorSet for protoc --descriptor_set_in, and
their names to OUT_DIR/xds.list.
"""
import ast
import pathlib
import sys
import zipfile

FILE_NAME, DEPENDENCY = 1, 3  # fields of FileDescriptorProto
LENGTH_DELIMITED = 2


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def write_varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def fields(message):
    """Number and bytes of each length-delimited field."""
    at = 0
    while at < len(message):
        tag, at = read_varint(message, at)
        if tag & 7 == LENGTH_DELIMITED:
            size, at = read_varint(message, at)
            yield tag >> 3, message[at : at + size]
            at += size
        elif tag & 7 == 0:
            _, at = read_varint(message, at)
        else:
            raise ValueError(f"wire type {tag & 7} in a FileDescriptorProto")


def descriptor_in(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "AddSerializedFile":
            return node.args[0].value
    raise ValueError("no AddSerializedFile in the module")


def collect(wheel, roots):
    """(name, descriptor) of the roots and their imports, imports first."""
    found = {}

    def visit(name):
        if name in found or name.startswith("google/protobuf/"):
            return
        found[name] = None  # its place is taken; filled in below, imports first
        module = name.removesuffix(".proto").replace("-", "_") + "_pb2.py"
        raw = descriptor_in(wheel.read(module))
        parts = list(fields(raw))
        told = next(value for number, value in parts if number == FILE_NAME).decode()
        if told != name:
            raise ValueError(f"{module} holds {told}, not {name}")
        for number, value in parts:
            if number == DEPENDENCY:
                visit(value.decode())
        del found[name]
        found[name] = raw

    for root in roots:
        visit(root)
    return list(found.items())


def main():
    wheel, out_dir, *roots = sys.argv[1:]
    with zipfile.ZipFile(wheel) as archive:
        files = collect(archive, roots)
    out = pathlib.Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "xds.pb", "wb") as descriptors:
        for _, raw in files:
            descriptors.write(b"\x0a" + write_varint(len(raw)) + raw)  # FileDescriptorSet.file
    (out / "xds.list").write_text("".join(f"{name}\n" for name, _ in files))


if __name__ == "__main__":
    main()
