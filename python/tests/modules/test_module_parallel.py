"""Tensor-parallel styles and split cross entropy in two processes, against one process."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

PROGRAM = """
    import sys
    import torch
    import torch.distributed as dist
    import torch.nn as nn
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate, Shard
    from torch.distributed.tensor.parallel import parallelize_module
    from fla.modules import FusedCrossEntropyLoss, FusedLinearCrossEntropyLoss, RMSNorm
    from fla.modules.activations import swiglu_linear
    from fla.modules.fused_linear_cross_entropy import LinearLossParallel
    from fla.modules.layernorm import NormParallel
    from fla.modules.mlp import SwiGLULinear, SwiGLULinearParallel
    from fla.modules.parallel import PrepareModuleWeight

    rank = int(sys.argv[1])
    dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    close = torch.testing.assert_close

    def mine(t, dim):
        return t.chunk(2, dim)[rank]

    torch.manual_seed(0)  # the same numbers in both processes
    x, y = torch.randn(2, 6, 8, requires_grad=True), torch.randn(2, 6, 8, requires_grad=True)
    weight, bias = torch.randn(5, 8, requires_grad=True), torch.randn(5, requires_grad=True)

    # A norm over half of the sequence: what a process computes is its half of the whole.
    norm = RMSNorm(8)
    whole = norm(x)
    parallelize_module(norm, mesh, NormParallel(use_local_output=True))
    close(norm(mine(x, 1)), mine(whole, 1))
    assert isinstance(norm.weight, DTensor) and norm.weight.placements == (Replicate(),)

    # Channels in halves: products are summed; gradients are those of the whole.
    whole = swiglu_linear(x, y, weight, bias)
    module = parallelize_module(SwiGLULinear(), mesh, SwiGLULinearParallel())
    halves = [mine(t.detach(), -1).contiguous().requires_grad_() for t in (x, y, weight)]
    out = module(*halves, bias.detach())
    close(out, whole)
    d = torch.randn_like(whole)
    expected = torch.autograd.grad(whole, (x, y, weight), d)
    for got, ref in zip(torch.autograd.grad(out, halves, d), expected):
        close(got, mine(ref, -1))

    # Tokens in halves: each process has the loss of its own, and the weight's gradient of its own.
    target = torch.randint(0, 5, (2, 6))
    module = parallelize_module(FusedLinearCrossEntropyLoss(reduction="sum"), mesh, LinearLossParallel())
    loss = module(mine(x, 1).contiguous(), target, weight, bias)
    close(loss, nn.functional.cross_entropy((mine(x, 1) @ weight.T + bias).flatten(0, 1), mine(target, 1).flatten(),
                                            reduction="sum"))
    total = loss.detach().clone()
    dist.all_reduce(total)
    close(total, FusedLinearCrossEntropyLoss(reduction="sum")(x, target, weight, bias).detach())

    # Parameters that lie in halves already become one distributed parameter.
    linear = nn.Linear(8, 3, bias=False)
    parallelize_module(linear, mesh, PrepareModuleWeight(layouts=Shard(0)))
    assert linear.weight.shape == (6, 8) and linear.weight.placements == (Shard(0),)

    # Classes in halves: losses, lse and gradients over all of them.
    logits, target = torch.randn(7, 10, requires_grad=True), torch.randint(0, 10, (7,))
    target[2] = -100
    options = dict(label_smoothing=0.1, logit_scale=0.7, lse_square_scale=0.01, logit_softcapping=3.0)
    ref = FusedCrossEntropyLoss(**options)(logits, target)
    half = mine(logits.detach(), 1).contiguous().requires_grad_()
    loss = FusedCrossEntropyLoss(**options, process_group=dist.group.WORLD)(half, target)
    close(loss, ref)
    close(torch.autograd.grad(loss, half)[0], mine(torch.autograd.grad(ref, logits)[0], 1))
    print("all of it", rank)
    dist.destroy_process_group()
"""


def test_two_processes(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    package = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
                   "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, str(program)]
    runs = [subprocess.Popen([*command, str(rank), str(tmp_path / "meet")], env=environment, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for rank in range(2)]
    try:
        printed = [run.communicate(timeout=120)[0] for run in runs]
    finally:
        for run in runs:
            run.kill()
    for rank, text in enumerate(printed):
        assert f"all of it {rank}" in text, text
