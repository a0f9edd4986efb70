"""A small character-level language model: two layers of the gated delta rule.

The recurrence is an argument, so that the compiled operator and an eager token
loop run in the same model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

import fla.lang


@dataclass(frozen=True)
class Size:
    width: int = 128
    heads: int = 2
    layers: int = 2
    convolution: int = 4


def token_loop(q, k, v, g, beta, *, scale, initial_state=None, output_final_state=False):
    """The gated delta rule, token by token in eager PyTorch: what the operator must equal.

    q, k [B,T,H,K], v [B,T,H,V], g (natural log of the decay) and beta [B,T,H].
    """
    B, T, H, K = k.shape
    S = q.new_zeros(B, H, K, v.shape[-1]) if initial_state is None else initial_state
    outputs = []
    for t in range(T):
        S = S * g[:, t, :, None, None].exp()
        error = v[:, t] - torch.einsum("bhkv,bhk->bhv", S, k[:, t])
        S = S + torch.einsum("bhk,bhv->bhkv", k[:, t], beta[:, t, :, None] * error)
        outputs.append(torch.einsum("bhkv,bhk->bhv", S, q[:, t]) * scale)
    return torch.stack(outputs, 1), S if output_final_state else None


class Mixer(nn.Module):
    """Tokens look back through a state a head, S <- e^g S + beta k (v - S^T k)^T."""

    def __init__(self, size: Size, rule):
        super().__init__()
        self.rule, self.heads = rule, size.heads
        self.project = nn.Linear(size.width, 3 * size.width, bias=False)
        self.mix = nn.Conv1d(3 * size.width, 3 * size.width, size.convolution, groups=3 * size.width, bias=False)
        self.gates = nn.Linear(size.width, 2 * size.heads)
        self.A_log = nn.Parameter(torch.zeros(size.heads))
        self.out = nn.Linear(size.width, size.width, bias=False)
        nn.init.constant_(self.gates.bias[: size.heads], -4.0)

    def forward(self, x, state=None):
        """x [B,T,width]; state (last inputs of the convolution, S) or None. Returns y and the next state."""
        B, T, width = x.shape
        last, S = (x.new_zeros(B, 3 * width, self.mix.kernel_size[0] - 1), None) if state is None else state
        row = torch.cat([last, self.project(x).transpose(1, 2)], -1)
        q, k, v = F.silu(self.mix(row)).transpose(1, 2).reshape(B, T, 3, self.heads, -1).unbind(2)
        decay, beta = self.gates(x).split(self.heads, -1)
        o, S = self.rule(F.normalize(q, dim=-1), F.normalize(k, dim=-1), v,
                         -self.A_log.exp() * F.softplus(decay), beta.sigmoid(), scale=1.0,
                         initial_state=S, output_final_state=state is not None)
        keep = None if state is None else (row[..., -last.shape[-1]:], S)
        return self.out(o.reshape(B, T, width)), keep


class Layer(nn.Module):
    def __init__(self, size: Size, rule):
        super().__init__()
        self.norms = nn.ModuleList(nn.RMSNorm(size.width) for _ in range(2))
        self.mixer = Mixer(size, rule)
        self.feed = nn.Sequential(nn.Linear(size.width, 3 * size.width), nn.GELU(), nn.Linear(3 * size.width, size.width))

    def forward(self, x, state=None):
        y, state = self.mixer(self.norms[0](x), state)
        x = x + y
        return x + self.feed(self.norms[1](x)), state


class LanguageModel(nn.Module):
    """Logits of the next character. `rule` is the recurrence of every layer."""

    def __init__(self, characters: int, size: Size = Size(), rule=None, seed: int = 0):
        torch.manual_seed(seed)
        super().__init__()
        rule = rule or fla.lang.load("gated_delta_rule")
        self.size = size
        self.embed = nn.Embedding(characters, size.width)
        self.layers = nn.ModuleList(Layer(size, rule) for _ in range(size.layers))
        self.norm = nn.RMSNorm(size.width)
        self.head = nn.Linear(size.width, characters)

    def forward(self, codes, states=None):
        """codes [B,T]; states of a previous call, or None for training. Returns logits [B,T,characters], states."""
        x, after = self.embed(codes), []
        for i, layer in enumerate(self.layers):
            x, state = layer(x, None if states is None else states[i])
            after.append(state)
        return self.head(self.norm(x)), after

    def start(self, batch: int):
        """States before the first character."""
        s, head = self.size, self.size.width // self.size.heads
        return [(torch.zeros(batch, 3 * s.width, s.convolution - 1), torch.zeros(batch, s.heads, head, head))
                for _ in self.layers]


def loss_of(model: LanguageModel, inputs, targets):
    """Mean nats a character."""
    return F.cross_entropy(model(inputs)[0].flatten(0, 1), targets.flatten())


@torch.no_grad()
def generate(model: LanguageModel, prompt: torch.Tensor, characters: int, temperature: float = 0.7, seed: int = 0):
    """Codes that follow the prompt [n]: the prompt in one call, then a character a call with carried states."""
    generator = torch.Generator().manual_seed(seed)
    logits, states = model(prompt[None], model.start(1))
    codes = []
    for _ in range(characters):
        p = (logits[0, -1] / temperature).softmax(-1)
        codes.append(torch.multinomial(p, 1, generator=generator))
        logits, states = model(codes[-1][None], states)
    return torch.cat(codes)
