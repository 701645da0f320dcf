/* The rules and the certificate of one token, for the explorer.
 *
 * `x` holds the token's entropies in nats, final layer last; every rule returns an index into it.
 * Each function mirrors the one of the package named beside it; tests/book holds the two together.
 */
(function (root) {
  "use strict";

  const start = (x, K) => Math.max(0, x.length - 1 - K);

  /* stopping.rules.Search (tau = 0) and Tolerance: go on while x[l-1] < x[l] - tau. */
  function search(x, K, tau) {
    let l = x.length - 1;
    while (l > start(x, K) && x[l - 1] < x[l] - tau) l--;
    return l;
  }

  /* stopping.rules.Guarded: the reference sinks by 2 guard at each step. */
  function guarded(x, K, guard) {
    let l = x.length - 1, reference = x[l];
    while (l > start(x, K) && x[l - 1] < reference) {
      l--;
      reference = Math.min(x[l], reference - 2 * guard);
    }
    return l;
  }

  /* stopping.rules.Patience: give up after m + 1 layers in a row without a new minimum. */
  function patience(x, K, m) {
    let best = x.length - 1, failures = 0;
    for (let l = x.length - 2; l >= start(x, K) && failures <= m; l--) {
      if (x[l] < x[best]) { best = l; failures = 0; } else failures++;
    }
    return best;
  }

  /* stopping.rules.WindowMinimum: among ties the deepest. */
  function minimum(x, K) {
    let best = x.length - 1;
    for (let l = x.length - 2; l >= start(x, K); l--) if (x[l] < x[best]) best = l;
    return best;
  }

  /* stopping.rules.ForwardExit. */
  function forward(x, K, threshold) {
    for (let l = start(x, K); l < x.length - 1; l++) if (x[l] <= threshold) return l;
    return x.length - 1;
  }

  /* stopping.identification: the turning points that explain the window `x` at noise level eps (T9). */
  function turningPoints(x, eps) {
    const n = x.length, found = [];
    let least = Infinity, lower = 0;
    for (let v = 0; v < n; v++) {
      least = Math.min(least, x[v]);
      lower = Math.max(lower, (x[v] - least) / 2);
      let rises = true, upper = Infinity;
      for (let i = v; i < n; i++) {
        if (i + 1 < n && !(x[i] < x[i + 1])) rises = false;
        for (let j = i + 2; j < n; j++) upper = Math.min(upper, (x[j] - x[i]) / (2 * (j - i - 1)));
      }
      if (rises && lower <= eps && eps < upper) found.push(v);
    }
    return found;
  }

  /* stopping.certificates.certify: the worst excess of every layer (T8), null if unexplained. */
  function certificate(x, eps) {
    const points = turningPoints(x, eps), n = x.length;
    if (!points.length) return null;
    const left = x.slice(), right = x.slice();
    for (let l = 1; l < n; l++) left[l] = Math.min(left[l], left[l - 1]);
    for (let l = n - 2; l >= 0; l--) right[l] = Math.min(right[l], right[l + 1] - 2 * eps);
    return x.map((_, l) => Math.max(...points.map((v) =>
      l === v ? 0 : Math.max(0, (l < v ? left[l] : right[l]) - x[v] + 2 * eps))));
  }

  /* stopping.theory.bounds: the excess of any trace, T2 (tau = 0) and T5; null where its premise fails.
   * `rises`: the least step after V*, Infinity at the final layer; `inside`: V* is in the window (A4). */
  function bound(eps, tau, rises, inside) {
    return inside && rises > 2 * eps + tau ? Math.max(0, 2 * eps - tau) : null;
  }

  /* stopping.theory.guarded.hedged_search: weights of two neighbours [layer, weight] (T7). */
  function hedged(x, K, eps) {
    const u = guarded(x, K, eps), last = x.length - 1;
    if (u === last) return [[last, 1]];
    const q = eps > 0 ? Math.min(1, 0.5 + (x[u + 1] - x[u]) / (4 * eps)) : 1;
    return [[u, q], [u + 1, 1 - q]];
  }

  root.layerStopping = { bound, start, search, guarded, hedged, patience, minimum, forward, turningPoints, certificate };
})(window);
