"""Inputs, errors and comparisons that the tests share."""

from __future__ import annotations

import torch

from token_loop import token_loop


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    """‖a - b‖ / (‖b‖ + 1e-6 √n)."""
    a, b = a.detach().double(), b.detach().double()
    if b.numel() == 0:
        return 0.0 if a.shape == b.shape else float("inf")
    return float((a - b).norm() / (b.norm() + 1e-6 * b.numel() ** 0.5))


def assert_close(a, b, tolerance: float = 1e-5, what: str = "") -> None:
    assert a.shape == b.shape, (what, a.shape, b.shape)
    assert not torch.isnan(a.double()).any(), f"{what}: nan"
    assert error(a, b) <= tolerance, f"{what}: error {error(a, b):.2e} above {tolerance:.0e}"


def leaf(t: torch.Tensor) -> torch.Tensor:
    return t.detach().clone().requires_grad_()


def unit_vectors(*shape, generator=None, dtype=torch.float32) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator, dtype=dtype), dim=-1)


def gated_delta_inputs(B=2, T=70, H=2, K=16, V=16, dtype=torch.float32, seed=0) -> list[torch.Tensor]:
    """q, k, v, g, beta for the gated delta rule, from a seed."""
    r = torch.Generator().manual_seed(seed)
    q = torch.randn(B, T, H, K, generator=r, dtype=dtype)
    k = unit_vectors(B, T, H, K, generator=r, dtype=dtype)
    v = torch.randn(B, T, H, V, generator=r, dtype=dtype)
    g = -torch.rand(B, T, H, generator=r, dtype=dtype)
    return [q, k, v, g, torch.rand(B, T, H, generator=r, dtype=dtype)]


def reference(op, *args, initial_state=None, cu_seqlens=None, **kwargs):
    """(outputs, final states) of the token loop on the call that op(...) would make."""
    operators, bound, _ = op.bind(*args, initial_state=initial_state, cu_seqlens=cu_seqlens, **kwargs)
    initial = bound.initial if any(x is not None for x in bound.initial) else None
    offsets = None if cu_seqlens is None else cu_seqlens.tolist()
    outputs, finals = token_loop(operators.definition, bound.tensors, bound.values, bound.sizes, initial, offsets)
    return outputs, finals


def compare(op, args, kwargs=None, initial_state=None, cu_seqlens=None, forward=1e-5, backward=3e-5, form="auto"):
    """Outputs, final states and all gradients of op against the token loop in float64."""
    kwargs = dict(kwargs or {})
    args = [leaf(a) if isinstance(a, torch.Tensor) else a for a in args]
    states = initial_state if isinstance(initial_state, tuple) else (initial_state,)
    states = tuple(leaf(s) if s is not None else None for s in states)
    given = None if initial_state is None else states if len(states) > 1 else states[0]
    kwargs = {k: leaf(v) if isinstance(v, torch.Tensor) else v for k, v in kwargs.items()}
    leaves = [x for x in (*args, *kwargs.values(), *states) if isinstance(x, torch.Tensor)]
    *outputs, final = op(*args, initial_state=given, cu_seqlens=cu_seqlens, output_final_state=True, form=form,
                         **kwargs)
    finals = list(final) if isinstance(final, tuple) else [final]
    want_outputs, want_finals = reference(op, *args, initial_state=given, cu_seqlens=cu_seqlens, **kwargs)
    want_finals = [w if w.shape[1] == f.shape[1] else w[:, ::w.shape[1] // f.shape[1]]
                   for w, f in zip(want_finals, finals)]
    for i, (a, b) in enumerate(zip([*outputs, *finals], [*want_outputs, *want_finals])):
        assert_close(a, b, forward, f"result {i}")
    r = torch.Generator().manual_seed(1)
    weights = [torch.randn(b.shape, generator=r, dtype=torch.float64) for b in (*want_outputs, *want_finals)]
    total = lambda xs: sum((x.double() * w).sum() for x, w in zip(xs, weights))
    got = torch.autograd.grad(total([*outputs, *finals]), leaves, allow_unused=True)
    want = torch.autograd.grad(total([*want_outputs, *want_finals]), leaves, allow_unused=True)
    for i, (a, b, x) in enumerate(zip(got, want, leaves)):
        b = torch.zeros_like(x) if b is None else b
        assert a is not None and a.dtype == x.dtype, f"gradient {i}"
        assert_close(a, b, backward, f"gradient {i}")
