"""Fused losses against PyTorch's in float64; how much memory they hold; ignored rows; what they refuse."""

import pytest
import torch
import torch.nn.functional as F

from fla.modules import FusedCrossEntropyLoss, FusedKLDivLoss, FusedLinearCrossEntropyLoss, _cross_entropy
from fla.modules.fused_cross_entropy import cross_entropy_loss
from fla.modules.fused_kl_div import fused_kl_div_loss
from fla.modules.fused_linear_cross_entropy import fused_linear_cross_entropy_loss, logsumexp_fwd
from fla.modules.grpo import fused_grpo_loss, grpo_loss_torch, grpo_loss_with_old_logps
from fla.modules.l2warp import l2_warp


def make(n=13, v=21, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    target = torch.randint(0, v, (n,))
    target[::4] = -100
    return (torch.randn(n, v, dtype=dtype) * 3).requires_grad_(), target


def reference(logits, target, smoothing=0.0, scale=1.0, square=0.0, cap=None):
    """The loss of each row, by PyTorch's log_softmax and autograd."""
    z = logits * scale
    z = z if cap is None else cap * torch.tanh(z / cap)
    held = target != -100
    logp = z.log_softmax(-1)
    nll = -logp.gather(-1, target.clamp(min=0)[:, None])[:, 0]
    extra = square * torch.logsumexp(z, -1) ** 2
    return torch.where(held, (1 - smoothing) * nll - smoothing * logp.mean(-1) + extra, 0), torch.where(held, extra, 0)


OPTIONS = [{}, {"smoothing": 0.1}, {"scale": 0.5}, {"square": 1e-2}, {"cap": 4.0},
           {"smoothing": 0.2, "scale": 1.5, "square": 1e-2, "cap": 5.0}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("rows_at_a_time", [1, 5, 100])
def test_cross_entropy(options, rows_at_a_time, monkeypatch):
    monkeypatch.setattr(_cross_entropy, "_HOST_BLOCK_ELEMENTS", 21 * rows_at_a_time)
    logits, target = make()
    losses, z = cross_entropy_loss(logits, target, options.get("smoothing", 0.0), options.get("scale", 1.0),
                                   options.get("square", 0.0), logit_softcapping=options.get("cap"))
    expected, rz = reference(logits, target, **options)
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(z, rz)
    assert not z.requires_grad
    d = torch.randn_like(losses)
    torch.testing.assert_close(torch.autograd.grad(losses, logits, d)[0], torch.autograd.grad(expected, logits, d)[0])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_reductions(reduction):
    logits, target = make(dtype=torch.float32)
    loss, z = FusedCrossEntropyLoss(reduction=reduction, lse_square_scale=0.1, return_z_loss=True)(logits, target)
    expected, rz = reference(logits.double(), target, square=0.1)
    reduce = {"mean": lambda t: t.sum() / (target != -100).sum(), "sum": torch.sum, "none": lambda t: t}[reduction]
    torch.testing.assert_close(loss.double(), reduce(expected), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(z.double(), reduce(rz), atol=1e-5, rtol=1e-5)
    plain = FusedCrossEntropyLoss(reduction=reduction)(logits, target)
    torch.testing.assert_close(plain, F.cross_entropy(logits, target, reduction=reduction))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_have_float32_losses(dtype):
    logits, target = make(dtype=torch.float32)
    half = logits.detach().to(dtype).requires_grad_()
    loss = FusedCrossEntropyLoss()(half, target)
    loss.backward()
    assert loss.dtype == torch.float32 and half.grad.dtype == dtype
    torch.testing.assert_close(loss.double(), F.cross_entropy(half.detach().double(), target), atol=1e-6, rtol=1e-6)


def test_the_gradient_may_take_the_logits_memory():
    logits, target = make(dtype=torch.float32)
    expected = torch.autograd.grad(FusedCrossEntropyLoss()(logits, target), logits)[0]
    held = logits.detach().clone().requires_grad_()
    grad = torch.autograd.grad(FusedCrossEntropyLoss(inplace_backward=True)(held, target), held)[0]
    assert torch.equal(grad, expected) and grad.data_ptr() == held.data_ptr()


def test_large_logits_and_other_ignored_classes():
    logits = torch.tensor([[1e4, -1e4, 0.0], [5.0, 5.0, 5.0]], requires_grad=True)
    loss = FusedCrossEntropyLoss(ignore_index=2, reduction="none")(logits, torch.tensor([0, 2]))
    loss.sum().backward()
    assert loss.tolist() == [0.0, 0.0] and torch.isfinite(logits.grad).all() and not logits.grad[1].any()


@pytest.mark.parametrize("call", [
    lambda: FusedCrossEntropyLoss()(torch.randn(3, 4), torch.tensor([0, 1, 4])),
    lambda: FusedLinearCrossEntropyLoss()(torch.randn(3, 5), torch.tensor([0, 1, 4]), torch.randn(4, 5)),
])
def test_a_target_that_is_no_class_raises(call):
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        call()


@pytest.mark.parametrize("options", [o for o in OPTIONS if "square" not in o], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("num_chunks", [1, 3, 8])
def test_linear_cross_entropy(options, reduction, num_chunks):
    _, target = make()
    x, weight, bias = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((13, 4), (21, 4), (21,)))
    loss = fused_linear_cross_entropy_loss(x, target, weight, bias, -100, options.get("smoothing", 0.0),
                                           options.get("scale", 1.0), num_chunks, reduction,
                                           logit_softcapping=options.get("cap"))
    rows, _ = reference(F.linear(x, weight, bias), target, **options)
    expected = rows.sum() / ((target != -100).sum() if reduction == "mean" else 1)
    torch.testing.assert_close(loss, expected)
    for got, ref in zip(torch.autograd.grad(loss * 3, (x, weight, bias)),
                        torch.autograd.grad(expected * 3, (x, weight, bias))):
        torch.testing.assert_close(got, ref)


def test_linear_cross_entropy_twice_backward_and_without_bias():
    _, target = make()
    x, weight = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((13, 4), (21, 4)))
    loss = FusedLinearCrossEntropyLoss()(x, target, weight)
    first = torch.autograd.grad(loss, (x, weight), torch.tensor(2.0).double(), retain_graph=True)
    second = torch.autograd.grad(loss, (x, weight), torch.tensor(2.0).double())
    expected = torch.autograd.grad(F.cross_entropy(x @ weight.T, target), (x, weight), torch.tensor(2.0).double())
    for a, b, c in zip(first, second, expected):
        torch.testing.assert_close(a, c)
        torch.testing.assert_close(b, c)


@pytest.mark.parametrize("trained", [(True, False, False), (False, True, False), (False, False, True), (False,) * 3])
def test_gradients_that_nobody_wants_are_not_computed(trained):
    _, target = make()
    tensors = [torch.randn(*s, dtype=torch.float64, requires_grad=t) for s, t in zip(((13, 4), (21, 4), (21,)), trained)]
    x, weight, bias = tensors
    loss = FusedLinearCrossEntropyLoss()(x, target, weight, bias)
    expected = F.cross_entropy(F.linear(x, weight, bias), target)
    torch.testing.assert_close(loss, expected)
    wanted = [t for t in tensors if t.requires_grad]
    if wanted:
        torch.testing.assert_close(torch.autograd.grad(loss, wanted), torch.autograd.grad(expected, wanted))


@pytest.mark.parametrize("in_fp32", [True, False])
def test_linear_cross_entropy_in_bfloat16(in_fp32):
    torch.manual_seed(1)
    x, weight, bias = (torch.randn(*s).bfloat16().requires_grad_() for s in ((64, 32), (50, 32), (50,)))
    target = torch.randint(0, 50, (64,))
    loss = FusedLinearCrossEntropyLoss(accumulate_grad_in_fp32=in_fp32)(x, target, weight, bias)
    wide = [t.detach().float().requires_grad_() for t in (x, weight, bias)]
    expected = F.cross_entropy(F.linear(*wide), target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, atol=1e-2, rtol=1e-2)
    for got, ref in zip(torch.autograd.grad(loss, (x, weight, bias)), torch.autograd.grad(expected, wide)):
        assert got.dtype == torch.bfloat16
        assert (got.float() - ref).norm() < 1e-2 * ref.norm()


def test_autocast_decides_the_logits_dtype():
    torch.manual_seed(8)
    x, weight = torch.randn(12, 16, requires_grad=True), torch.randn(40, 16, requires_grad=True)
    target, teacher, tw = torch.randint(0, 40, (12,)), torch.randn(12, 16), torch.randn(40, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = FusedLinearCrossEntropyLoss()(x, target, weight), FusedKLDivLoss()(x, teacher, weight, tw)
    half = [t.detach().bfloat16() for t in (x, weight, teacher, tw)]
    expected = FusedLinearCrossEntropyLoss()(half[0], target, half[1]), FusedKLDivLoss()(half[0], half[2], *half[1::2])
    for loss, ref in zip(losses, expected):
        assert torch.equal(loss, ref)
        dx, dw = torch.autograd.grad(loss, (x, weight))
        assert dx.dtype == dw.dtype == torch.float32 and dw.abs().sum() > 0


def test_logits_are_never_there_as_a_whole():
    """The largest tensor that any operation makes is a chunk's, not [N, V]."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, op, types, args=(), kwargs=None):
            out = op(*args, **(kwargs or {}))
            for t in out if isinstance(out, (tuple, list)) else (out,):
                if isinstance(t, torch.Tensor):
                    Largest.size = max(Largest.size, t.numel())
            return out

    n, h, v = 256, 16, 512
    x, weight = torch.randn(n, h, requires_grad=True), torch.randn(v, h, requires_grad=True)
    target, teacher = torch.randint(0, v, (n,)), torch.randn(n, h)
    with Largest():
        FusedLinearCrossEntropyLoss(use_l2warp=True)(x, target, weight).backward()
        FusedKLDivLoss()(x, teacher, weight, torch.randn(v, h)).backward()
    assert Largest.size == n * v // 8


def test_linear_cross_entropy_of_ignored_tokens_alone():
    x, weight = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    loss = FusedLinearCrossEntropyLoss()(x, torch.full((3,), -100), weight)
    loss.backward()
    assert loss.item() == 0 and not x.grad.any() and not weight.grad.any()


def test_linear_cross_entropy_takes_batches():
    torch.manual_seed(2)
    x, weight, target = torch.randn(2, 5, 4), torch.randn(6, 4), torch.randint(0, 6, (2, 5))
    torch.testing.assert_close(FusedLinearCrossEntropyLoss()(x, target, weight),
                               F.cross_entropy((x @ weight.T).flatten(0, 1), target.flatten()))


def test_l2_warp_alone_and_inside_the_linear_loss():
    torch.manual_seed(3)
    x, weight, bias = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((2, 5, 4), (7, 4), (7,)))
    target = torch.randint(0, 7, (2, 5))
    target[0, 0] = -100
    logits = F.linear(x, weight, bias)
    plain = F.cross_entropy(logits.flatten(0, 1), target.flatten())
    loss = l2_warp(plain, logits, 0.3)
    assert loss.item() == plain.item()
    warped = torch.autograd.grad(loss, logits, torch.tensor(2.0).double(), retain_graph=True)[0]
    extra = warped - torch.autograd.grad(plain, logits, torch.tensor(2.0).double(), retain_graph=True)[0]
    largest = logits.amax(-1, keepdim=True)
    torch.testing.assert_close(extra, torch.where(logits == largest, 2 * 0.3 * largest / 10, 0.0).detach())
    fused = FusedLinearCrossEntropyLoss(use_l2warp=True, l2_penalty_factor=0.3)(x, target, weight, bias)
    torch.testing.assert_close(fused, plain)
    for got, ref in zip(torch.autograd.grad(fused, (x, weight, bias)), torch.autograd.grad(loss, (x, weight, bias))):
        torch.testing.assert_close(got, ref)


@pytest.mark.parametrize("in_fp32", [True, False])
def test_kl_divergence(in_fp32):
    torch.manual_seed(4)
    x, weight = (torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((13, 4), (21, 4)))
    tx, tw = torch.randn(13, 6, dtype=torch.float64), torch.randn(21, 6, dtype=torch.float64)
    loss = FusedKLDivLoss(accumulate_grad_in_fp32=in_fp32)(x, tx, weight, tw)
    expected = F.kl_div((x @ weight.T).log_softmax(-1), (tx @ tw.T).softmax(-1), reduction="batchmean")
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss * 2, (x, weight)), torch.autograd.grad(expected * 2, (x, weight)))


def test_kl_divergence_has_a_fixed_teacher():
    x, w = torch.randn(3, 4), torch.randn(5, 4)
    with pytest.raises(RuntimeError, match="fixed teacher"):
        fused_kl_div_loss(x, x.clone().requires_grad_(), w, w)
    assert FusedKLDivLoss()(x, x, w, w).item() == pytest.approx(0, abs=1e-6)


def test_logsumexp():
    x = torch.randn(3, 8)
    torch.testing.assert_close(logsumexp_fwd(x, 0.5, 2.0), torch.logsumexp(2 * torch.tanh(0.25 * x), -1))
    assert logsumexp_fwd(x.bfloat16(), dtype=torch.float32).dtype == torch.float32


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("rows_at_a_time", [2, 100])
def test_grpo(mask, inplace, rows_at_a_time, monkeypatch):
    monkeypatch.setattr(_cross_entropy, "_HOST_BLOCK_ELEMENTS", 11 * rows_at_a_time)
    torch.manual_seed(5)
    logits = torch.randn(3, 7, 11, dtype=torch.float64, requires_grad=True)
    ref_logp, ids, advantages = -torch.rand(3, 6).double() * 3, torch.randint(0, 11, (3, 10)), torch.randn(3).double()
    completion = (torch.rand(3, 6) > 0.3).int() if mask else None
    expected, rkl = grpo_loss_torch(logits, ref_logp, ids, advantages, 0.2, completion, True)
    # By the definition, where the importance ratio is one.
    logp = logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 4:, None])[..., 0]
    r = ref_logp - logp
    direct = 0.2 * (r.exp() - r - 1) - advantages[:, None]
    torch.testing.assert_close(expected, direct * completion if mask else direct)
    d = torch.randn(3, 6).double()
    dexpected, = torch.autograd.grad(expected, logits, d)
    held = logits.detach().clone().requires_grad_()
    loss, kl = fused_grpo_loss(held, ref_logp, ids, advantages, 0.2, completion, True, inplace)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(kl, rkl)
    grad, = torch.autograd.grad(loss, held, d)
    torch.testing.assert_close(grad, dexpected)
    assert (grad.data_ptr() == held.data_ptr()) == inplace
    assert torch.equal(fused_grpo_loss(logits, ref_logp, ids, advantages, 0.2, completion), loss)


def test_grpo_takes_what_inference_mode_made():
    torch.manual_seed(7)
    logits = torch.randn(2, 4, 6, requires_grad=True)
    with torch.inference_mode():
        others = -torch.rand(2, 3), torch.randint(0, 6, (2, 5)), torch.randn(2)
    loss = fused_grpo_loss(logits, *others)
    copies = [t.clone() for t in others]
    torch.testing.assert_close(torch.autograd.grad(loss.sum(), logits),
                               torch.autograd.grad(grpo_loss_torch(logits, *copies).sum(), logits))


def test_grpo_with_old_log_probabilities():
    torch.manual_seed(6)
    logps, ref, old = (-torch.rand(4, 5) for _ in range(3))
    mask, rewards = torch.rand(4, 5) > 0.2, torch.randn(4)
    total, count = 0.0, 0
    for b in range(4):
        advantage = (rewards[b] - rewards.mean()) / (rewards.std() + 1e-8)
        for t in range(5):
            if mask[b, t]:
                ratio, r = (logps[b, t] - old[b, t]).exp(), ref[b, t] - logps[b, t]
                gain = min(advantage * ratio, advantage * ratio.clamp(0.8, 1.2))
                total, count = total - gain + 0.3 * (r.exp() - r - 1), count + 1
    torch.testing.assert_close(grpo_loss_with_old_logps(logps, ref, old, mask, 5, rewards, 0.3), total / count)
    with pytest.raises(ValueError, match="at least 2 completions, got 1"):
        grpo_loss_with_old_logps(logps[:1], ref[:1], old[:1], mask[:1], 5, rewards[:1])


@pytest.mark.parametrize("call, error, message", [
    (lambda: FusedCrossEntropyLoss(reduction="max"), NotImplementedError, "'max'"),
    (lambda: FusedLinearCrossEntropyLoss(reduction="none"), ValueError, "mean and sum, got 'none'"),
    (lambda: FusedKLDivLoss("sum"), ValueError, "batchmean, got 'sum'"),
    (lambda: FusedCrossEntropyLoss()(torch.zeros(3, 4), torch.zeros(2).long()), ValueError, r"got \(3, 4\) and \(2,\)"),
    (lambda: FusedLinearCrossEntropyLoss()(torch.zeros(3, 4), torch.zeros(3).long(), torch.zeros(5, 6)), ValueError,
     r"weight \[V, H\], got \(3, 4\), \(3,\) and \(5, 6\)"),
    (lambda: FusedLinearCrossEntropyLoss()(torch.zeros(3, 4), torch.zeros(3).long(), torch.zeros(5, 4), torch.zeros(4)),
     ValueError, r"bias of shape \(5,\), got \(4,\)"),
    (lambda: FusedKLDivLoss()(torch.zeros(3, 4), torch.zeros(2, 4), torch.zeros(5, 4), torch.zeros(5, 4)), ValueError,
     r"target_x \[N, H'\]"),
    (lambda: fused_grpo_loss(torch.zeros(2, 4, 5), torch.zeros(2, 4), torch.zeros(2, 9).long(), torch.zeros(2)),
     ValueError, r"ref_logp \[B, L\]"),
])
def test_arguments_that_do_not_fit(call, error, message):
    with pytest.raises(error, match=message):
        call()
