"""Token loops in float64, one for each definition of the library.

Each function states its paper's recurrence in plain numpy for one head of one
sequence and shares nothing with the compiler or with the text in lib/Models.
Per-token arguments have a leading T axis, parameters have none; the states are
keyword arguments that start as the definition says (zero, or minus infinity)
when they are left out. Returns `(o, states)`: the outputs [T, V] and the final
states in the definition's order. Gates are natural logs.
"""
import numpy as np
from numpy import exp, log, outer


def softmax(x):
    e = exp(x - x.max())
    return e / e.sum()


def sigmoid(x):
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def softplus(x):
    return np.logaddexp(0.0, x)


def zeros(state, *shape):
    return np.zeros(shape) if state is None else np.array(state, np.float64)


def minus_infinity(state, *shape):
    return np.full(shape, -np.inf) if state is None else np.array(state, np.float64)


# ---- Additive states -------------------------------------------------------


def linear_attn(q, k, v, scale=1.0, S=None):
    S, o = zeros(S, k.shape[1], v.shape[1]), []
    for t in range(len(q)):
        S = S + outer(k[t], v[t])
        o.append(scale * q[t] @ S)
    return o, (S,)


def linear_attn_normalized(q, k, v, scale=1.0, eps=1e-10, S=None, z=None):
    S, z, o = zeros(S, k.shape[1], v.shape[1]), zeros(z, k.shape[1]), []
    for t in range(len(q)):
        S = S + outer(k[t], v[t])
        z = z + k[t]
        o.append(scale * q[t] @ S / (scale * q[t] @ z + eps))
    return o, (S, z)


def retention(q, k, v, g_gamma, scale=1.0, S=None):
    S, o = zeros(S, k.shape[1], v.shape[1]), []
    for t in range(len(q)):
        S = exp(g_gamma) * S + outer(k[t], v[t])
        o.append(scale * q[t] @ S)
    return o, (S,)


lightning_attn = retention


def simple_gla(q, k, v, g=None, g_gamma=0.0, scale=1.0, S=None):
    S, o = zeros(S, k.shape[1], v.shape[1]), []
    for t in range(len(q)):
        gate = g_gamma + (0.0 if g is None else g[t])
        S = exp(gate) * S + outer(k[t], v[t])
        o.append(scale * q[t] @ S)
    return o, (S,)


def mamba2(x, dt, A, B, C, D=0.0, S=None):
    S, o = zeros(S, B.shape[1], x.shape[1]), []
    for t in range(len(x)):
        S = exp(dt[t] * A) * S + dt[t] * outer(B[t], x[t])
        o.append(C[t] @ S + D * x[t])
    return o, (S,)


def gla(q, k, v, gk=None, gv=None, scale=1.0, S=None):
    S, o = zeros(S, k.shape[1], v.shape[1]), []
    for t in range(len(q)):
        if gk is not None:
            S = exp(gk[t])[:, None] * S
        if gv is not None:
            S = S * exp(gv[t])[None, :]
        S = S + outer(k[t], v[t])
        o.append(scale * q[t] @ S)
    return o, (S,)


def hgrn2(q, v, g, scale=1.0, S=None):
    S, o = zeros(S, g.shape[1], v.shape[1]), []
    for t in range(len(q)):
        forget = exp(g[t])
        S = forget[:, None] * S + outer(-np.expm1(g[t]), v[t])
        o.append(scale * q[t] @ S)
    return o, (S,)


def rwkv6(r, k, v, w, u, scale=1.0, S=None):
    S, o = zeros(S, k.shape[1], v.shape[1]), []
    for t in range(len(r)):
        kv = outer(k[t], v[t])
        o.append(scale * r[t] @ (S + u[:, None] * kv))
        S = exp(w[t])[:, None] * S + kv
    return o, (S,)


def lightnet(q, k, v, scale=1.0, S=None, z=None):
    S, z, o = zeros(S, k.shape[1], v.shape[1]), minus_infinity(z, k.shape[1]), []
    for t in range(len(q)):
        total = np.logaddexp(z, k[t])
        S = exp(z - total)[:, None] * S + outer(exp(k[t] - total), v[t])
        z = total
        o.append(scale * q[t] @ S)
    return o, (S, z)


def rodimus(q, k, v, g, tau, scale=1.0, S=None):
    S, o = zeros(S, k.shape[1], v.shape[1]), []
    for t in range(len(q)):
        selection, temperature = softplus(g[t]), sigmoid(tau[t])
        S = exp(-selection * temperature)[:, None] * S
        S = S + outer(selection**temperature * k[t], v[t])
        o.append(scale * q[t] @ S)
    return o, (S,)


def mamba3(q, k, v, g, dt, trap, angles, D=0.0, S=None, theta=None, kp=None, vp=None):
    S, theta = zeros(S, k.shape[1], v.shape[1]), zeros(theta, angles.shape[1])
    kp, vp, o = zeros(kp, k.shape[1]), zeros(vp, v.shape[1]), []

    def rotate(x):  # pairs of channels as complex numbers
        z = (x[0::2] + 1j * x[1::2]) * exp(1j * theta)
        return np.stack([z.real, z.imag], -1).reshape(-1)

    for t in range(len(q)):
        theta = theta + dt[t] * angles[t]
        key, query, decay = rotate(k[t]), rotate(q[t]), exp(g[t])
        S = decay * (S + (1 - trap[t]) * dt[t] * outer(kp, vp)) + trap[t] * dt[t] * outer(key, v[t])
        o.append(query @ S + D * v[t])
        kp, vp = key, v[t]
    return o, (S, theta, kp, vp)


# ---- Feature maps ----------------------------------------------------------


def normalized_features(phi, q, k, v, scale, eps, S, z):
    size = len(phi(np.zeros(k.shape[1])))
    S, z, o = zeros(S, size, v.shape[1]), zeros(z, size), []
    for t in range(len(q)):
        S = S + outer(phi(k[t]), v[t])
        z = z + phi(k[t])
        f = phi(scale * q[t])
        o.append(f @ S / (f @ z + eps))
    return o, (S, z)


def based(q, k, v, scale=1.0, eps=1e-6, S=None, z=None):
    phi = lambda x: np.concatenate([[1.0], x, outer(x, x).reshape(-1) / np.sqrt(2.0)])
    return normalized_features(phi, q, k, v, scale, eps, S, z)


def rebased(q, k, v, scale=1.0, eps=1e-5, S=None, z=None):
    phi = lambda x: outer(x, x).reshape(-1)
    return normalized_features(phi, q, k, v, scale, eps, S, z)


# ---- The delta rule and its kin -------------------------------------------


def delta_rule(q, k, v, beta, scale=1.0, S=None):
    S, o = zeros(S, k.shape[1], v.shape[1]), []
    for t in range(len(q)):
        S = S - beta[t] * outer(k[t], k[t] @ S) + beta[t] * outer(k[t], v[t])
        o.append(scale * q[t] @ S)
    return o, (S,)


def gated_delta_rule(q, k, v, g, beta, scale=1.0, S=None):
    return gated_delta_rule_gates(q, k, v, beta=beta, g=g, scale=scale, S=S)


def gated_delta_rule_gates(q, k, v, g=None, gk=None, gv=None, beta=None, scale=1.0, S=None):
    S, o = zeros(S, k.shape[1], v.shape[1]), []
    for t in range(len(q)):
        if g is not None:
            S = exp(g[t]) * S
        if gk is not None:
            S = exp(gk[t])[:, None] * S
        if gv is not None:
            S = exp(gv[t])[None, :] * S
        transition = np.eye(k.shape[1]) - beta[t] * outer(k[t], k[t])
        S = transition @ S + beta[t] * outer(k[t], v[t])
        o.append(scale * q[t] @ S)
    return o, (S,)


def delta_product(q, k, v, beta, scale=1.0, S=None):
    return gated_delta_product(q, k, v, np.zeros(len(q)), beta, scale, S)


def gated_delta_product(q, k, v, g, beta, scale=1.0, S=None):
    S, o = zeros(S, k.shape[2], v.shape[2]), []
    for t in range(len(q)):
        S = exp(g[t]) * S
        for j in range(k.shape[1]):
            householder = np.eye(k.shape[2]) - beta[t, j] * outer(k[t, j], k[t, j])
            S = householder @ S + beta[t, j] * outer(k[t, j], v[t, j])
        o.append(scale * q[t] @ S)
    return o, (S,)


def comba(q, k, v, p, g, beta, scale=1.0, S=None):
    S, o = zeros(S, k.shape[1], v.shape[1]), []
    for t in range(len(q)):
        transition = exp(g[t]) * np.eye(k.shape[1]) - beta[t] * outer(k[t], p[t])
        S = transition @ S + beta[t] * outer(k[t], v[t])
        o.append(scale * q[t] @ S)
    return o, (S,)


def kda(q, k, v, g, beta, scale=1.0, S=None):
    S, o = zeros(S, k.shape[1], v.shape[1]), []
    for t in range(len(q)):
        transition = (np.eye(k.shape[1]) - beta[t] * outer(k[t], k[t])) @ np.diag(exp(g[t]))
        S = transition @ S + beta[t] * outer(k[t], v[t])
        o.append(scale * q[t] @ S)
    return o, (S,)


def kda_gate(q, k, v, g, beta, A_log, dt_bias=0.0, scale=1.0, S=None):
    return kda(q, k, v, -exp(A_log) * softplus(g + dt_bias), beta, scale, S)


def kda_lower_bound(q, k, v, g, beta, A_log, dt_bias=0.0, scale=1.0, lower_bound=-5.0, S=None):
    return kda(q, k, v, lower_bound * sigmoid(exp(A_log) * (g + dt_bias)), beta, scale, S)


def gdn2(q, k, v, g, b, w, scale=1.0, S=None):
    S, o = zeros(S, k.shape[1], v.shape[1]), []
    for t in range(len(q)):
        transition = (np.eye(k.shape[1]) - outer(k[t], b[t] * k[t])) @ np.diag(exp(g[t]))
        S = transition @ S + outer(k[t], w[t] * v[t])
        o.append(scale * q[t] @ S)
    return o, (S,)


def dplr_delta_rule(q, k, v, a, b, gk, scale=1.0, S=None):
    S, o = zeros(S, k.shape[1], v.shape[1]), []
    for t in range(len(q)):
        transition = np.diag(exp(gk[t])) + outer(b[t], a[t])
        S = transition @ S + outer(k[t], v[t])
        o.append(scale * q[t] @ S)
    return o, (S,)


def iplr_delta_rule(q, k, v, a, b, scale=1.0, S=None):
    return dplr_delta_rule(q, k, v, a, b, np.zeros_like(k), scale, S)


def rwkv7(r, w, k, v, a, b, scale=1.0, S=None):
    return dplr_delta_rule(r, k, v, a, b, w, scale, S)


def rwkv7_kk(r, w, k, v, kk, a, scale=1.0, S=None):
    return dplr_delta_rule(r, k, v, -kk, kk * a, w, scale, S)


def preconditioned(q, k, v, g, g_atk, beta_atk, beta, log_atk_scale, scale, x, eps, S, A):
    """`g` [T, K]; M lies between 1/x and x and multiplies the written key."""
    S, A, o = zeros(S, k.shape[1], v.shape[1]), zeros(A, k.shape[1]), []
    for t in range(len(q)):
        A = exp(g_atk[t]) * A + beta_atk[t] * k[t] ** 2
        z = log(A + eps) - log_atk_scale
        M = x ** (-z / (1.0 + abs(z)))
        S = exp(g[t])[:, None] * S
        S = S + beta[t] * outer(M * k[t], v[t] - k[t] @ S)
        o.append(scale * q[t] @ S)
    return o, (S, A)


def precond_kda(q, k, v, g, g_atk, beta_atk, beta, log_atk_scale=-0.2, scale=1.0, x=1.5, eps=1e-6, S=None, A=None):
    return preconditioned(q, k, v, g, g_atk, beta_atk, beta, log_atk_scale, scale, x, eps, S, A)


def precond_gated_delta_rule(q, k, v, g_atk, g, beta_atk, beta, log_atk_scale=-0.2, scale=1.0, x=1.5, eps=1e-6, S=None, A=None):
    g = np.repeat(g[:, None], k.shape[1], 1)
    return preconditioned(q, k, v, g, g_atk, beta_atk, beta, log_atk_scale, scale, x, eps, S, A)


def gated_oja_rule(q, k, v, gv, beta, scale=1.0, S=None):
    S, o = zeros(S, k.shape[1], v.shape[1]), []
    for t in range(len(q)):
        transition = np.diag(exp(gv[t])) @ (np.eye(v.shape[1]) - beta[t] * outer(v[t], v[t]))
        S = S @ transition + beta[t] * outer(k[t], v[t])
        o.append(scale * q[t] @ S)
    return o, (S,)


# ---- Slots -----------------------------------------------------------------


def gsa(q, k, v, s, g=None, scale=1.0, Hk=None, Hv=None):
    Hk, Hv, o = zeros(Hk, k.shape[1], s.shape[1]), zeros(Hv, s.shape[1], v.shape[1]), []
    for t in range(len(q)):
        keep = np.ones(s.shape[1]) if g is None else exp(g[t])
        Hk = Hk * keep[None, :] + outer(k[t], s[t])
        Hv = Hv * keep[:, None] + outer(s[t], v[t])
        o.append(softmax(scale * q[t] @ Hk) @ Hv)
    return o, (Hk, Hv)


def abc(q, k, v, s, scale=1.0, Hk=None, Hv=None, z=None):
    Hk, Hv, o = zeros(Hk, k.shape[1], s.shape[1]), zeros(Hv, s.shape[1], v.shape[1]), []
    z = minus_infinity(z, s.shape[1])
    for t in range(len(q)):
        total = np.logaddexp(z, s[t])
        keep, share, z = exp(z - total), exp(s[t] - total), total
        Hk = Hk * keep[None, :] + outer(k[t], share)
        Hv = Hv * keep[:, None] + outer(share, v[t])
        o.append(softmax(scale * q[t] @ Hk) @ Hv)
    return o, (Hk, Hv, z)


# ---- Elementwise states ----------------------------------------------------


def hgrn(x, g, h=None):
    h, o = zeros(h, x.shape[1]), []
    for t in range(len(x)):
        h = exp(g[t]) * h + x[t]
        o.append(h)
    return o, (h,)


def rwkv4(w, u, k, v, num=None, den=None, m=None):
    num, den = zeros(num, k.shape[1]), zeros(den, k.shape[1])
    m, o = minus_infinity(m, k.shape[1]), []
    for t in range(len(k)):
        top = np.maximum(m, u + k[t])
        past, now = exp(m - top), exp(u + k[t] - top)
        o.append((past * num + now * v[t]) / (past * den + now))
        top = np.maximum(m + w, k[t])
        past, now = exp(m + w - top), exp(k[t] - top)
        num, den, m = past * num + now * v[t], past * den + now, top
    return o, (num, den, m)


def mamba(u, delta, A, B, C, D=0.0, h=None):
    h, o = zeros(h, *A.shape), []
    for t in range(len(u)):
        h = exp(delta[t][:, None] * A) * h + (delta[t] * u[t])[:, None] * B[t][None, :]
        o.append((h * C[t][None, :]).sum(1) + D * u[t])
    return o, (h,)


# ---- Overwritten states ----------------------------------------------------


def short_conv(x, w0, w1, w2, w3, bias=0.0, residual=None, x3=None, x2=None, x1=None):
    x3, x2, x1, o = zeros(x3, x.shape[1]), zeros(x2, x.shape[1]), zeros(x1, x.shape[1]), []
    for t in range(len(x)):
        total = w0 * x3 + w1 * x2 + w2 * x1 + w3 * x[t] + bias
        o.append(total * sigmoid(total) + (0.0 if residual is None else residual[t]))
        x3, x2, x1 = x2, x1, x[t]
    return o, (x3, x2, x1)
