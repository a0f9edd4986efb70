"""Write a recurrence as one token step; call it on tensors and train with it.

    from fla.lang import recurrence, State, Vec, Scalar, exp, outer

    @recurrence
    def gated_delta_rule(S: State["K", "V"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Scalar, beta: Scalar):
        S = exp(g) * S
        S = S + outer(k, beta * (v - S.T @ k))
        return S, S.T @ q

    o, final = gated_delta_rule(q, k, v, g, beta, output_final_state=True)

Tensors are [B, T, H, K], scalars [B, T, H], states [N, H, K, V]; gates are
natural logarithms.
"""

from .._identity import require as _require

_require()

from .annotations import Param, Scalar, State, Static, Vec
from .dimensions import dims
from .errors import DefinitionError
from .functions import (abs, assume, clamp, concat, cos, dot, exp, exp2, expm1, flatten, gelu, l2norm, log, log1p,
                        log2, logaddexp, logsigmoid, max, maximum, mean, minimum, outer, relu, rmsnorm, rotate, rows,
                        cols, rsqrt, sigmoid, silu, sin, softmax, softplus, sqrt, sum, tanh, unit, where)
from .library import available, load
from .recurrence import Recurrence, recurrence

inf = float("inf")

__all__ = ["recurrence", "Recurrence", "load", "available", "dims", "State", "Vec", "Scalar", "Param", "Static",
           "DefinitionError", "inf", "abs", "assume", "clamp", "cols", "concat", "cos", "dot", "exp", "exp2", "expm1",
           "flatten", "gelu", "l2norm", "log", "log1p", "log2", "logaddexp", "logsigmoid", "max", "maximum", "mean",
           "minimum", "outer", "relu", "rmsnorm", "rotate", "rows", "rsqrt", "sigmoid", "silu", "sin", "softmax",
           "softplus", "sqrt", "sum", "tanh", "unit", "where"]
