"""What the operators check of their arguments before the compiler's own checks.

Tensors are [B, T, H, D], states [N, H, K, V]; packed sequences have batch 1 and
cu_seqlens [N + 1]. Gates are natural logarithms.
"""

from __future__ import annotations

import warnings

import torch

__all__ = ["refuse_head_first", "check_layout", "check_packed", "check_chunk", "check_heads", "check_reflections",
           "refuse_context", "default_scale", "v_first"]


def refuse_head_first(name: str, head_first: bool) -> None:
    """Raises DeprecationWarning for head_first=True."""
    if head_first:
        raise DeprecationWarning(f"{name}: head_first=True is no longer available; expected tensors [B, T, H, D]")


def check_layout(name: str, head_first: bool, x: torch.Tensor, cu_seqlens=None) -> None:
    """Raises DeprecationWarning for head_first=True; warns of more heads than tokens, which looks like it.

    Packed sequences may be few tokens in all: decoding has one of each.
    """
    refuse_head_first(name, head_first)
    if cu_seqlens is None and x.dim() >= 3 and 1 < x.shape[1] < x.shape[2]:
        warnings.warn(f"{name}: expected tensors [B, T, H, D], got {x.shape[1]} tokens and {x.shape[2]} heads: "
                      "are they [B, H, T, D]?", stacklevel=3)


def check_packed(name: str, x: torch.Tensor, cu_seqlens, *states) -> None:
    """Raises ValueError for packed sequences in a batch, or another number of states than of sequences."""
    if cu_seqlens is None:
        return
    if x.shape[0] != 1:
        raise ValueError(f"{name}: cu_seqlens: expected batch size 1 with packed sequences, got {x.shape[0]}; "
                         "flatten them into one row")
    for state in states:
        if state is not None and state.shape[0] != cu_seqlens.shape[0] - 1:
            raise ValueError(f"{name}: initial_state: expected one for each of the {cu_seqlens.shape[0] - 1} packed "
                             f"sequences, got {state.shape[0]}")


def check_chunk(name: str, chunk_size: int | None, allowed: tuple[int, ...] | None = None) -> None:
    """Raises ValueError unless chunk_size is one of `allowed`, or any power of two up to 256."""
    if chunk_size is None:
        return
    known = allowed or tuple(1 << i for i in range(9))
    if isinstance(chunk_size, bool) or chunk_size not in known:
        expected = "a power of two up to 256" if allowed is None else f"one of {', '.join(map(str, allowed))}"
        raise ValueError(f"{name}: chunk_size: expected {expected}, got {chunk_size!r}")


def check_heads(name: str, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
    """Raises ValueError unless q and k have as many heads, and v a multiple of them."""
    if q.shape[2] != k.shape[2]:
        raise ValueError(f"{name}: expected as many heads of k as of q, got {k.shape[2]} and {q.shape[2]}")
    if v.shape[2] % q.shape[2]:
        raise ValueError(f"{name}: expected a number of v's heads that {q.shape[2]}, the number of q's, divides, "
                         f"got {v.shape[2]}")


def check_reflections(name: str, allow_neg_eigval: bool, use_beta_sigmoid_in_kernel: bool) -> None:
    """Raises ValueError for rates up to 2 without logits to make them of."""
    if allow_neg_eigval and not use_beta_sigmoid_in_kernel:
        raise ValueError(f"{name}: allow_neg_eigval=True: expected use_beta_sigmoid_in_kernel=True with it, got False")


def refuse_context(name: str, cp_context) -> None:
    """Raises NotImplementedError for a context of several devices."""
    if cp_context is not None:
        raise NotImplementedError(f"{name}: cp_context: expected None, one device has the whole sequence; "
                                  f"got {type(cp_context).__name__}")


def default_scale(scale: float | None, k: torch.Tensor) -> float:
    """scale, or K^-0.5."""
    return k.shape[-1] ** -0.5 if scale is None else scale


def v_first(name: str, state_v_first: bool, transpose_state_layout: bool | None) -> bool:
    """Whether states are [N, H, V, K]; the second name is the older one and warns."""
    if transpose_state_layout is None:
        return state_v_first
    if state_v_first:
        raise ValueError(f"{name}: expected state_v_first or its older name transpose_state_layout, got both")
    warnings.warn(f"{name}: transpose_state_layout is now called state_v_first", DeprecationWarning, stacklevel=3)
    return transpose_state_layout
