"""MoM: a mixture of memories. J. Du et al., arXiv:2502.13685 (2025)."""

from __future__ import annotations

import torch
import torch.nn as nn

from fla.modules import FusedRMSNormGated, RMSNorm, ShortConvolution
from fla.ops.gated_delta_rule import chunk_gated_delta_rule, fused_recurrent_gated_delta_rule

from ._call import Call, heads, merge
from ._gates import DecayGate, fresh
from .rwkv6 import xavier

__all__ = ["MomAttention"]


class Routes:
    """Which tokens each memory of each sequence takes, as packed sequences.

    A token goes to topk of M memories, so total tokens become total * topk
    copies, ordered by (sequence, memory, time). tokens [total * topk]: the token
    of each copy; place: where the copies are before that order; cu_seqlens
    [N * M + 1], with empty sequences where a memory took nothing.
    """

    def __init__(self, chosen: torch.Tensor, sequence: torch.Tensor, sequences: int, memories: int):
        topk = chosen.shape[-1]
        owner = (sequence[:, None] * memories + chosen).flatten()
        self.place = torch.argsort(owner, stable=True)
        self.tokens, self.memory = self.place // topk, chosen.flatten()[self.place]
        edges = torch.arange(sequences * memories + 1, device=owner.device)
        self.cu_seqlens = torch.searchsorted(owner[self.place], edges).to(torch.int32)
        self.memories, self.topk = memories, topk

    def gather(self, x: torch.Tensor) -> torch.Tensor:
        """[1, total, D] to the copies, [1, total * topk, D]."""
        return x[:, self.tokens]

    def of_each(self, maps, x: torch.Tensor) -> torch.Tensor:
        """Each memory's map of its copies of x [1, total, D]: [1, total * topk, D']."""
        if torch.compiler.is_compiling():  # sizes must not depend on values: all maps of all tokens
            return torch.stack([m(x[0]) for m in maps])[self.memory, self.tokens].unsqueeze(0)
        by_memory = torch.argsort(self.memory, stable=True)
        counts = torch.bincount(self.memory, minlength=self.memories).tolist()
        parts = [m(part) for m, part in zip(maps, x[0, self.tokens[by_memory]].split(counts))]
        return torch.cat(parts).index_select(0, torch.argsort(by_memory)).unsqueeze(0)

    def combine(self, o: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Copies o [1, total * topk, ...] as tokens [1, total, ...], weighted by [total, topk]."""
        back = torch.argsort(self.place)
        o = o[0, back].unflatten(0, (-1, self.topk))
        return (o * weights.view(*weights.shape, *(1,) * (o.dim() - 2)).to(o.dtype)).sum(1).unsqueeze(0)


class MomAttention(DecayGate):
    """num_memories gated-delta-rule states, of which a router picks topk for each token, and perhaps a shared one.

    hidden_size: D; keys have num_heads heads of head_dim, values of head_dim *
    expand_v. shared_mem: one more memory that every token reaches.
    single_kv_proj: all memories share their projections. forward takes [B, T, D]
    and returns (o [B, T, D], None, the cache, router logits [B * T, num_memories]).
    The state is (memories [N, M, H, K, V], shared [N, H, K, V] or None).
    """

    def __init__(
        self,
        hidden_size: int = 2048,
        head_dim: int = 256,
        num_heads: int = 4,
        expand_v: float = 2,
        mode: str = "chunk",
        use_output_gate: bool = True,
        use_short_conv: bool = True,
        conv_size: int = 4,
        conv_bias: bool = False,
        layer_idx: int | None = None,
        norm_eps: float = 1e-5,
        num_memories: int = 8,
        topk: int = 2,
        capacity: float = 1.0,
        shared_mem: bool = False,
        single_kv_proj: bool = False,
        **kwargs,
    ):
        super().__init__()
        assert mode in ("chunk", "fused_recurrent"), f"Not supported mode `{mode}`."
        if not use_short_conv:
            raise UserWarning("MomAttention needs its short convolutions; use_short_conv=False is not supported.")
        if not 1 <= topk <= num_memories:
            raise ValueError(f"MomAttention: expected topk from 1 to num_memories={num_memories}, got {topk}")
        self.mode, self.layer_idx, self.hidden_size = mode, layer_idx, hidden_size
        self.num_memories, self.topk, self.capacity = num_memories, topk, capacity
        self.shared_mem, self.single_kv_proj = shared_mem, single_kv_proj
        self.use_output_gate, self.use_short_conv = use_output_gate, use_short_conv
        self.conv_size, self.conv_bias = conv_size, conv_bias
        self.head_dim, self.num_heads, self.expand_v = head_dim, num_heads, expand_v
        self.key_dim, self.value_dim = int(num_heads * head_dim), int(num_heads * head_dim * expand_v)
        self.head_qk_dim, self.head_v_dim = head_dim, int(head_dim * expand_v)
        self.silu = nn.SiLU()

        self.q_proj = nn.Linear(hidden_size, self.key_dim, bias=False)
        self.gate = nn.Linear(hidden_size, num_memories, bias=False)
        widths = {"k": self.key_dim, "v": self.value_dim, "b": num_heads, "a": num_heads}
        if not single_kv_proj:
            for name, width in widths.items():
                setattr(self, f"{name}_proj", nn.ModuleList(
                    nn.Linear(hidden_size, width, bias=False) for _ in range(num_memories)))
        if single_kv_proj or shared_mem:
            for name, width in widths.items():
                setattr(self, f"shared_{name}", nn.Linear(hidden_size, width, bias=False))
        self.make_decay(num_heads)
        self.q_conv1d = ShortConvolution(self.key_dim, conv_size, bias=conv_bias, activation="silu")
        self.k_conv1d = ShortConvolution(self.key_dim, conv_size, bias=conv_bias, activation="silu")
        self.v_conv1d = ShortConvolution(self.value_dim, conv_size, bias=conv_bias, activation="silu")
        if use_output_gate:
            self.g_proj = nn.Linear(hidden_size, self.value_dim, bias=False)
            self.o_norm = FusedRMSNormGated(self.head_v_dim, eps=norm_eps)
        else:
            self.o_norm = RMSNorm(self.head_v_dim, eps=norm_eps, dtype=torch.float32)
        self.o_proj = nn.Linear(self.value_dim, hidden_size, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        for module in self.modules():
            if isinstance(module, nn.Linear):
                fresh(module.weight, xavier(module.weight))

    def _memory(self, call: Call, x, parts, cu_seqlens, conv_state, recurrent_state):
        """One set of packed sequences through convolutions and the gated delta rule: (o, convolutions' ends, state)."""
        k, v, beta, a = parts
        convolved = [conv(x=y, cache=cache, output_final_state=call.keep, cu_seqlens=cu_seqlens)
                     for conv, y, cache in zip((self.q_conv1d, self.k_conv1d, self.v_conv1d),
                                               (self.q_proj(x), k, v), conv_state or (None,) * 3)]
        q, k, v = (heads(y, dim) for (y, _), dim in zip(convolved, (self.head_qk_dim, self.head_qk_dim,
                                                                    self.head_v_dim)))
        short = self.mode == "fused_recurrent" or (call.tokens <= 64 and not self.training)
        rule = fused_recurrent_gated_delta_rule if short else chunk_gated_delta_rule
        o, state = rule(q=q, k=k, v=v, g=self.log_decay(a), beta=beta.sigmoid(), initial_state=recurrent_state,
                        output_final_state=call.keep, use_qk_l2norm_in_kernel=True, cu_seqlens=cu_seqlens)
        return o, tuple(end for _, end in convolved), state

    def _shared_parts(self, x: torch.Tensor):
        return self.shared_k(x), self.shared_v(x), self.shared_b(x), self.shared_a(x)

    def _routed(self, call: Call, x, sequence, sequences: int, states, logits):
        """The memories' output [1, total, H, V] and states with an axis of memories."""
        weights, chosen = torch.topk(logits.float().softmax(-1), self.topk, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        routes = Routes(chosen, sequence, sequences, self.num_memories)
        copies = routes.gather(x)
        if self.single_kv_proj:
            parts = self._shared_parts(copies)
        else:
            parts = [routes.of_each(maps, x) for maps in (self.k_proj, self.v_proj, self.b_proj, self.a_proj)]
        flat = tuple(None if s is None else s.flatten(0, 1) for s in states)
        o, ends, state = self._memory(call, copies, parts, routes.cu_seqlens, None if flat[0] is None else flat[1:],
                                      flat[0])
        def apart(s):
            return None if s is None else s.unflatten(0, (sequences, self.num_memories))
        return routes.combine(o, weights), tuple(apart(e) for e in ends), apart(state)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, past_key_values=None,
                use_cache: bool | None = False, output_attentions: bool | None = False, **kwargs):
        call = Call(self, hidden_states, attention_mask, past_key_values, kwargs.get("cu_seqlens"))
        x, cu_seqlens = call.x, call.cu_seqlens
        logits = self.gate(hidden_states)
        if cu_seqlens is None:
            sequences = x.shape[0]
            flat = x.flatten(0, 1).unsqueeze(0)
            sequence = torch.arange(sequences, device=x.device).repeat_interleave(x.shape[1])
        else:
            sequences, flat = cu_seqlens.numel() - 1, x
            sequence = torch.bucketize(torch.arange(x.shape[1], device=x.device), cu_seqlens[1:].contiguous(),
                                       right=True)
        memories, shared = call.recurrent_state or (None, None)
        ends, shared_ends = call.state.get("conv_state") or ((None,) * 3, None)
        o, ends, memories = self._routed(call, flat, sequence, sequences, (memories, *ends),
                                         call.pack(logits).flatten(0, 1))
        o = o.view(*x.shape[:2], self.num_heads, self.head_v_dim)
        if self.shared_mem:
            more, shared_ends, shared = self._memory(call, x, self._shared_parts(x), cu_seqlens, shared_ends, shared)
            o = o + more
        call.save((memories, shared), conv_state=(ends, shared_ends))
        o = self.o_norm(o, heads(self.g_proj(x), self.head_v_dim)) if self.use_output_gate else self.o_norm(o)
        return call.unpack(self.o_proj(merge(o))), None, past_key_values, logits.flatten(0, 1)
