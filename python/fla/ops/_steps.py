"""What several definitions do to their arguments, in the language."""

from __future__ import annotations

from fla.lang import exp, sigmoid, softplus

__all__ = ["write_rate", "channel_gate"]


def write_rate(beta, logits: bool, reflect: bool):
    """A delta rule's rate: 1 for None; of logits its sigmoid, doubled where reflections are allowed."""
    if beta is None:
        return 1.0
    if not logits:
        return beta
    return 2.0 * sigmoid(beta) if reflect else sigmoid(beta)


def channel_gate(g, A_log, dt_bias, bounded: bool, lower_bound):
    """Kimi delta attention's log decay of a logit a channel (arXiv:2510.26692).

    -e^A_log softplus(g + dt_bias), or lower_bound sigmoid(e^A_log (g + dt_bias)), in
    which A_log may be None for 0.
    """
    x = g if dt_bias is None else g + dt_bias
    if not bounded:
        return -exp(A_log) * softplus(x)
    return lower_bound * sigmoid(x if A_log is None else exp(A_log) * x)
