#!/usr/bin/env python3
"""That the layering check finds each kind of fault, and only faults."""
import pathlib
import tempfile
import unittest

import layering


def check(files):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        return layering.check(root)


class Layering(unittest.TestCase):
    def test_faults(self):
        for name, include in {
            ("kernels/a.h", "models/forecaster.h"),
            ("kernels/cpu/a.cc", "service/tick/tick.h"),
            ("models/a.cc", "service/tick/tick.h"),
            ("service/tick/a.cc", "training/command.h"),
            ("training/a.cc", "tests/integration/process.h"),
            ("service/tick/a.cc", "foreshadow/v1/common.pb.h"),
            ("training/train/a.cc", "grpcpp/grpcpp.h"),
            ("service/tick/a.cc", "service/rpc/convert.h"),
            ("service/rpc/a.cc", "service/cell/process.h"),
            ("models/lstm/a.cc", "torch/torch.h"),
            ("models/torch/a.h", "ATen/ATen.h"),
            ("tests/unit/a.cc", "torch/torch.h"),
            ("models/lstm/a.cc", "models/torch/tensors.h"),
            ("models/torch/a.h", "models/torch/tensors.h"),
        }:
            with self.subTest(name=name, include=include):
                faults, _ = check({name: f'#pragma once\n#  include "{include}"\n'})
                self.assertEqual(len(faults), 1, faults)
                self.assertIn(f"{name} includes {include}", faults[0])

    def test_allowed(self):
        files = {
            "models/a.h": '#include "kernels/ops.h"\n#include <vector>\n',
            "models/torch/a.cc": "#include <torch/torch.h>\n#include \"models/torch/tensors.h\"\n",
            "models/torch/tensors.h": "#include <torch/torch.h>\n",
            "service/main.cc": '#include "service/rpc/server.h"\n',
            "service/rpc/a.cc": '#include "foreshadow/v1/common.pb.h"\n',
            "training/a.cc": '// #include "tests/a.h"\n#include "service/tick/tick.h"\n',
        }
        self.assertEqual(check(files), ([], len(files)))

    def test_torch_files_are_few(self):
        text = "#include <torch/torch.h>\n"
        faults, _ = check({f"models/torch/{i}.cc": text for i in range(5)})
        self.assertEqual(faults, ["5 files see torch, at most 4 may"])


if __name__ == "__main__":
    unittest.main()
