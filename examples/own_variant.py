"""A variant that is in no catalogue, in under 12 lines, and its check.

A delta rule that corrects with one key and writes with a mixture of this key and
the previous one, so that what follows a key is found under it; its gate decays
keys and values at once.
"""

from fla.lang import Scalar, State, Vec, exp, l2norm, logsigmoid, outer, recurrence, sigmoid


@recurrence
def echo_delta(S: State["K", "V"], last: State["K"], q: Vec["K"], k: Vec["K"], v: Vec["V"], g: Vec["K"],
               h: Scalar, beta: Scalar, mix: Scalar):
    k, m = l2norm(k), sigmoid(mix)
    S = exp(logsigmoid(g)) * S * sigmoid(h)
    S = S + outer(k, sigmoid(beta) * (v - S.T @ k)) + outer(last, m * v)
    return (S, k), S.T @ q


if __name__ == "__main__":
    print(echo_delta)
    raise SystemExit(0 if echo_delta.check() else 1)
