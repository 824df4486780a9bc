"""Two processes that share a batch take the steps of one that has all of it."""

from __future__ import annotations

import datetime
import multiprocessing
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from polymath.train.update.optimizer import ExpressionOptimizer

RULES = ("adamw", "powersign_linear")
STEPS, ROWS = 6, 8


def trained(rule: str, *, rank: int | None) -> list[torch.Tensor]:
    """Weights after some steps on all rows, or on the half of one of two processes."""
    generator = torch.Generator().manual_seed(0)
    net: nn.Module = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 2))
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
    whole = net
    if rank is not None:
        net = DistributedDataParallel(net)
    optimizer = ExpressionOptimizer(net.parameters(), rule, lr=0.02, weight_decay=0.1, total_steps=STEPS)
    for _ in range(STEPS):
        rows, target = torch.randn(ROWS, 5, generator=generator), torch.randn(ROWS, 2, generator=generator)
        mine = slice(None) if rank is None else slice(rank * ROWS // 2, (rank + 1) * ROWS // 2)
        optimizer.zero_grad()
        (net(rows[mine]) - target[mine]).square().mean().backward()
        optimizer.step()
    return [weight.detach() for weight in whole.parameters()]


def one_of_two(rank: int, folder: str) -> None:
    """Leaves the weights of all rules in a file of this process."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
        timeout=datetime.timedelta(seconds=120),
    )
    torch.save([trained(rule, rank=rank) for rule in RULES], Path(folder) / f"weights{rank}")
    distributed.destroy_process_group()


@pytest.mark.slow  # three processes that import PyTorch
@pytest.mark.skipif(not distributed.is_available(), reason="this PyTorch was built without distributed training")
def test_two_processes_equal_one_with_the_joint_batch(tmp_path: Path) -> None:
    spawned = multiprocessing.get_context("spawn")
    processes = [spawned.Process(target=one_of_two, args=(rank, str(tmp_path)), daemon=True) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0, 0]
    first, second = (torch.load(tmp_path / f"weights{rank}", weights_only=True) for rank in range(2))
    for rule, ours, theirs in zip(RULES, first, second, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
        for one, alone in zip(ours, trained(rule, rank=None), strict=True):
            torch.testing.assert_close(one, alone, rtol=1e-4, atol=1e-5)
