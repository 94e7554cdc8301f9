#!/usr/bin/env python3
"""Reads every #include of the project and fails on an edge that points up.

kernels <- models <- service; rpc -> proto; training -> service, models, kernels. Generated protobuf
headers and torch headers stay in the few places that may see them.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAYERS = ["kernels", "models", "service", "training"]  # each may include itself and those before it
SEES_PROTO = ["service/rpc/", "service/cell/", "training/client/", "training/demo/", "tests/"]
SEES_TORCH = ["models/torch/"]
TORCH_FILES_MAX = 4  # each costs a quarter of a minute and over a gigabyte to compile
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)


def sources():
    for folder in LAYERS + ["tests"]:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".h", ".cc", ".cu", ".cuh"}:
                yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def is_torch(include):
    return include.startswith(("torch/", "ATen/", "c10/", "caffe2/"))


def faults():
    torch_files = set()
    for name, text in sources():
        layer = name.split("/")[0]
        for include in INCLUDE.findall(text):
            target = include.split("/")[0]
            if layer in LAYERS and target in LAYERS and LAYERS.index(target) > LAYERS.index(layer):
                yield f"{name} includes {include}: {layer} must not see {target}"
            if layer in LAYERS and target == "tests":
                yield f"{name} includes {include}: only tests may"
            if include.endswith(".pb.h") and not name.startswith(tuple(SEES_PROTO)):
                yield f"{name} includes {include}: only {', '.join(SEES_PROTO)} may see protobuf"
            if is_torch(include):
                torch_files.add(name)
                if not name.startswith(tuple(SEES_TORCH)) or name.endswith(".h"):
                    yield f"{name} includes {include}: only .cc files in models/torch/ may see torch"
    if len(torch_files) > TORCH_FILES_MAX:
        yield f"{len(torch_files)} files see torch, at most {TORCH_FILES_MAX} may: {sorted(torch_files)}"


def main():
    found = list(faults())
    for fault in found:
        print(fault)
    checked = sum(1 for _ in sources())
    print(f"{checked} files checked, {len(found)} faults")
    return 1 if found or checked == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
