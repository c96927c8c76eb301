// The vectorised functions against float64, on every instruction tier that this machine has.
import { afterAll, describe, expect, test } from "vitest";
import { createOps } from "../../lib/ops/index.js";
import { loadAddon } from "../../lib/runtime/native.js";

/** The distance between neighbouring float32 numbers at y. */
function unitInLastPlace(y: number): number {
  return 2 ** (Math.max(-126, Math.floor(Math.log2(Math.max(Math.abs(y), 2 ** -126)))) - 23);
}

/** All of float32 between two bounds, evenly thinned out: as many small numbers as large ones. */
function spread(low: number, high: number, count: number): Float32Array {
  const position = (value: number) => {
    const [bits] = new Int32Array(Float32Array.of(value).buffer) as unknown as [number];
    return bits < 0 ? -(bits & 0x7fffffff) : bits;
  };
  const [first, last] = [position(low), position(high)];
  const bits = Int32Array.from({ length: count }, (_, i) => {
    const at = Math.round(first + ((last - first) * i) / (count - 1));
    return at < 0 ? -at | 0x80000000 : at;
  });
  return new Float32Array(bits.buffer);
}

const reference64 = {
  exp: Math.exp,
  expm1: Math.expm1,
  log: Math.log,
  log1p: Math.log1p,
  tanh: Math.tanh,
  sigmoid: (v: number) => (v >= 0 ? 1 / (1 + Math.exp(-v)) : Math.exp(v) / (1 + Math.exp(v))),
  sin: Math.sin,
  cos: Math.cos,
  softplus: (v: number) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v))),
};

/** Results below this may come as zero: kernels flush numbers too small for float32's full precision. */
const FLUSHED = 2 ** -124;

// The bounds of native/cpu/math.inc, in units in the last place of the float32 result.
const bounds: readonly (readonly [keyof typeof reference64, low: number, high: number, ulp: number])[] = [
  ["exp", -103, 88.72, 1],
  ["expm1", -100, 88.72, 2],
  ["log", 2 ** -126, 3.4e38, 1],
  ["log1p", -0.9999999, 3.4e38, 1.5],
  ["tanh", -100, 100, 1.5],
  ["sigmoid", -103, 100, 2.5],
  ["softplus", -103, 1e30, 2.5],
  ["sin", -1e6, 1e6, 1.5],
  ["cos", -1e6, 1e6, 1.5],
];

describe.each(
  loadAddon()
    .info()
    .tiers.map((tier) => [tier]),
)("on tier %s", (tier) => {
  const own = createOps({ tier, threads: 2 });
  afterAll(() => own.dispose());
  test.each(bounds)("%s from %d to %d is within %d ulp", async (name, low, high, ulp) => {
    const arguments_ = spread(low, high, 1 << 18);
    const { data } = await own[name](arguments_);
    let [worst, where] = [0, 0];
    for (let i = 0; i < data.length; i++) {
      const exact = reference64[name](arguments_[i]!);
      const error = Math.max(0, Math.abs(data[i]! - exact) - FLUSHED) / unitInLastPlace(exact);
      if (!(error <= worst)) [worst, where] = [error, arguments_[i]!];
    }
    expect(worst, `${name}(${where})`).toBeLessThanOrEqual(ulp);
  });

  test("infinities, NaN and signed zero", async () => {
    const special = Float32Array.of(Infinity, -Infinity, Number.NaN, 0, -0);
    for (const name of Object.keys(reference64) as (keyof typeof reference64)[]) {
      const { data } = await own[name](special);
      special.forEach((value, i) => {
        const exact = Math.fround(reference64[name](value));
        if (Number.isFinite(exact) && exact !== 0) expect(data[i], `${name}(${value})`).toBeCloseTo(exact, 6);
        else expect(data[i], `${name}(${value})`).toBe(exact);
      });
    }
  });
});
