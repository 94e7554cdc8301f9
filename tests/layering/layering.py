#!/usr/bin/env python3
"""Reads every #include of the project and fails on an edge that points up.

kernels <- models <- service; rpc -> proto; training -> service, models, kernels. Generated protobuf
headers, gRPC and torch headers stay in the few places that may see them.

    layering.py [ROOT]     ROOT: the project by default
"""
import pathlib
import re
import sys

LAYERS = ["kernels", "models", "service", "training"]  # each may include itself and those before it
SEES_PROTO = ["service/rpc/", "service/tls/", "service/cell/", "service/xds/", "training/client/", "training/demo/", "tests/"]
SEES_TORCH = "models/torch/"
TORCH_HEADER = "models/torch/tensors.h"  # what its .cc files share, and nobody else may see
# The rest of the service does not know how it is served, nor what an agent is.
SEES_RPC = ["service/rpc/", "service/main.cc", "tests/"]
SEES_AGENT = ["service/cell/", "tests/"]
TORCH_FILES_MAX = 4  # each costs a quarter of a minute and over a gigabyte to compile
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)


def sources(root):
    for folder in LAYERS + ["tests"]:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in {".h", ".cc", ".cu", ".cuh"}:
                yield path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")


def is_torch(include):
    return include.startswith(("torch/", "ATen/", "c10/", "caffe2/"))


def is_proto(include):
    return include.endswith(".pb.h") or include.startswith(("grpcpp/", "grpc/", "google/protobuf/"))


def why_not(name, include):
    """What forbids this include in this file; nothing if it is allowed."""
    layer, target = name.split("/")[0], include.split("/")[0]
    if layer in LAYERS and target in LAYERS and LAYERS.index(target) > LAYERS.index(layer):
        return f"{layer} must not see {target}"
    if layer in LAYERS and target == "tests":
        return "only tests see tests"
    if is_proto(include) and not name.startswith(tuple(SEES_PROTO)):
        return f"only {', '.join(SEES_PROTO)} see protobuf and gRPC"
    if include.startswith("service/rpc/") and not name.startswith(tuple(SEES_RPC)):
        return f"only {', '.join(SEES_RPC)} see service/rpc"
    if include.startswith("service/cell/") and not name.startswith(tuple(SEES_AGENT)):
        return f"only {', '.join(SEES_AGENT)} see service/cell"
    if is_torch(include) or include == TORCH_HEADER:
        if not (name.startswith(SEES_TORCH) and name.endswith(".cc")) and name != TORCH_HEADER:
            return f"only .cc files in {SEES_TORCH} see torch"
    return None


def check(root):
    """The faults found, and how many files were read."""
    faults = []
    torch_files = set()
    count = 0
    for name, text in sources(root):
        count += 1
        for include in INCLUDE.findall(text):
            if is_torch(include) and name != TORCH_HEADER:
                torch_files.add(name)
            if why := why_not(name, include):
                faults.append(f"{name} includes {include}: {why}")
    if len(torch_files) > TORCH_FILES_MAX:
        faults.append(f"{len(torch_files)} files see torch, at most {TORCH_FILES_MAX} may")
    return faults, count


def main():
    default = pathlib.Path(__file__).resolve().parents[2]
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    faults, count = check(root)
    for fault in faults:
        print(fault)
    print(f"{count} files checked, {len(faults)} faults")
    return 1 if faults or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
