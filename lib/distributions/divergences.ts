// KL(q ‖ p) in closed form, in a table by pair of families; every other pair is estimated at a draw.
import { VaeError } from "../errors.js";
import { noMore } from "../graph/arguments.js";
import { add, divide, exp, expm1, multiply, reshapeTensor, square, subtract, sum, type Tensor } from "../graph/index.js";
import { isFunction } from "../graph/kinds.js";
import type { Distribution, Draw } from "./family.js";
import type { GaussianDistribution } from "./gaussian.js";
import { contributionsOf } from "./results.js";

/** KL(q ‖ p) as contributions `[rows, k]` in nats whose sum over k it is; undefined where these two have no closed form. */
export type Divergence = (q: Distribution, p: Distribution) => Tensor | undefined;

/** How KL(q ‖ p) is computed: in closed form where there is one, or as log q(z) − log p(z) at a draw. */
export type KlEstimate = "closed" | "monteCarlo";

const table = new Map<string, Divergence>();

/**
 * Adds the closed form of a pair of families, named as in `Distribution.family`; defined again, it is replaced. The library's own
 * pairs stay what they are.
 *
 * @throws VaeError `"argument"` for a pair of the library's, or what is no function
 */
export function defineDivergence(q: string, p: string, divergence: Divergence, ...surplus: never[]): void {
  const operation = "defineDivergence";
  noMore(operation, surplus);
  const isPair = typeof q === "string" && typeof p === "string" && isFunction(divergence);
  if (!isPair) throw new VaeError({ code: "argument", operation, expected: "two names of families and a function of two distributions" });
  if (builtIn.has(`${q} ${p}`)) throw new VaeError({ code: "argument", operation, problem: `${q} and ${p} have a built-in divergence` });
  table.set(`${q} ${p}`, divergence);
}

// ½ (μ² + σ² − 1 − log σ²) (Kingma & Welling 2014, appendix B); σ² − 1 as expm1 keeps its digits near the prior.
table.set("gaussian standardNormal", (q) => {
  const { mean, logVariance } = q as GaussianDistribution;
  return multiply(0.5, add(square(mean), subtract(expm1(logVariance), logVariance)));
});

// ½ (exp d − 1 − d + (μ − μₚ)² / σₚ²) with d = log σ² − log σₚ².
table.set("gaussian gaussian", (q, p) => {
  const [a, b] = [q as GaussianDistribution, p as GaussianDistribution];
  const difference = subtract(a.logVariance, b.logVariance);
  const distance = divide(square(subtract(a.mean, b.mean)), exp(b.logVariance));
  return multiply(0.5, add(distance, subtract(expm1(difference), difference)));
});

const builtIn: ReadonlySet<string> = new Set(table.keys());

/**
 * KL(q ‖ p) as contributions `[rows, k]` in nats: in closed form where the table has the pair, else log q − log p at the draw.
 *
 * @param draw from q
 */
export function divergenceOf(q: Distribution, p: Distribution, draw: Draw, estimate: KlEstimate = "closed"): Tensor {
  const rows = draw.value.shape[0]!;
  const closed = estimate === "closed" ? table.get(`${q.family} ${p.family}`)?.(q, p) : undefined;
  if (closed !== undefined)
    return contributionsOf({ family: "divergence of", part: `${q.family} and ${p.family}`, method: "the function" }, closed, rows);
  const [logQ, logP] = [draw.logDensity, p.logDensity(draw.value)];
  // Contributions can be told apart only where both sides have the same ones.
  return logQ.shape[1] === logP.shape[1] ? subtract(logQ, logP) : subtract(sumOf(logQ), sumOf(logP));
}

function sumOf(contributions: Tensor): Tensor {
  return reshapeTensor(sum(contributions, { axes: [1] }), [contributions.shape[0]!, 1]);
}
