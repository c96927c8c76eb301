// Inference beside what else happens to a model: disposal, a change of threads, rows and requests that cannot be served.
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { dense, gaussian, gaussianPosterior, sgd, type Vae, VaeError, type VaeOptions, vae } from "../../lib/index.js";
import { clusteredRows } from "../support/data.js";

const SIZE = 6;
const small: VaeOptions = { input: [SIZE], latent: 2, encoder: [dense(8)], decoder: [dense(8)], likelihood: "bernoulli" };
const model = (change: Partial<VaeOptions> = {}): Vae => vae({ ...small, ...change, device: "cpu", threads: 1 });
const still = sgd({ learningRate: 0 });

/** How a call ended: its value, or the code of its `VaeError` (an error of another class is thrown on). */
async function outcome<T>(call: Promise<T>): Promise<T | string> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof VaeError) return error.code;
    throw error;
  }
}

describe("inference in flight", () => {
  it("when the model is disposed, rejects or gives its own rows' result", async () => {
    const wide = { encoder: [dense(1500, { activation: "relu" }), dense(1500)] };
    const batches = Array.from({ length: 6 }, (_, index) => clusteredRows(512, SIZE, 3 + index));
    await using reference = model(wide);
    const wanted: Float32Array[] = [];
    for (const rows of batches) wanted.push((await reference.encode(rows)).mean);
    const one = model(wide);
    await one.encode(batches[0]!);
    const calls = batches.map((rows) => outcome(one.encode(rows)));
    await calls[0];
    one.dispose();
    const ends = await Promise.all(calls);
    ends.forEach((end, index) => {
      if (typeof end === "string") expect(end).toBe("disposed");
      else expect(end.mean, `call ${index}`).toEqual(wanted[index]);
    });
    expect(ends[0]).not.toBe("disposed");
    expect(ends.at(-1)).toBe("disposed");
  });

  it("says of every kind of call that the model was disposed", async () => {
    const rows = clusteredRows(64, SIZE);
    const pattern = /^VaeError: (encode|decode|sample|evaluate|score|parameters): the model was disposed/;
    const messages: string[] = [];
    // Disposed while weights are drawn, graphs are compiled, runs and reads are queued.
    for (const turns of [0, 1, 2, 4, 8, 16]) {
      const one = model({ encoder: Array.from({ length: 12 }, () => dense(64)) });
      const calls = [one.encode(rows), one.decode([[0, 0]]), one.sample(9), one.evaluate(rows), one.score(rows), one.parameters()];
      const settled = Promise.allSettled(calls);
      for (let turn = 0; turn < turns; turn++) await setImmediate();
      one.dispose();
      for (const end of await settled) if (end.status === "rejected") messages.push(String(end.reason));
    }
    expect(messages.length).toBeGreaterThan(10);
    for (const message of messages) expect(message).toMatch(pattern);
  });

  it("is not disturbed by fit({ threads })", async () => {
    const rows = clusteredRows(16, SIZE);
    // Many small layers: compiling takes far longer than fit needs to begin.
    const encoder = Array.from({ length: 24 }, () => dense(9, { activation: "tanh" }));
    for (let round = 0; round < 6; round++) {
      await using one = model({ encoder, decoder: encoder });
      await one.parameters();
      const calls = [one.evaluate(rows), one.encode(rows), one.reconstruct(rows), one.sample(2)].map((call: Promise<unknown>) =>
        outcome(call),
      );
      for (let turn = 0; turn < round; turn++) await sleep(1);
      const fitted = one.fit(rows, { steps: 1, batchSize: 2, threads: 2, optimizer: still });
      const ends = await Promise.all(calls);
      expect(ends.filter((end) => typeof end === "string")).toEqual([]);
      await fitted;
      expect(ends[1]).toEqual(await one.encode(rows));
    }
  });

  it("weights that are set while fit changes the threads are kept", async () => {
    const rows = clusteredRows(16, SIZE);
    for (let ticks = 0; ticks < 40; ticks++) {
      await using one = model();
      const values = await one.parameters();
      for (const { data } of values.values()) data.fill(0.25);
      const fitted = one.fit(rows, { steps: 1, batchSize: 2, threads: 2, optimizer: still });
      for (let tick = 0; tick < ticks; tick++) await undefined;
      await one.setParameters(values);
      await fitted;
      expect(await one.parameters(), `after ${ticks} ticks`).toEqual(values);
    }
  });
});

describe("refused with a VaeError", () => {
  const poisoned = clusteredRows(3, SIZE);
  poisoned[SIZE + 2] = Number.NaN;
  const infinite = clusteredRows(1, SIZE);
  infinite[0] = Number.POSITIVE_INFINITY;

  it.each<[string, (one: Vae) => Promise<unknown>, string, RegExp]>([
    ["NaN to encode", (one) => one.encode(poisoned), "data", /^encode: row 1, column 2 .* is NaN/],
    ["NaN to reconstruct", (one) => one.reconstruct(poisoned), "data", /^reconstruct: row 1, column 2/],
    ["infinity to interpolate", (one) => one.interpolate(clusteredRows(1, SIZE), infinite), "data", /^interpolate: row 0, column 0/],
    ["NaN latents", (one) => one.decode(Float32Array.of(0, 0, 0, Number.NaN)), "data", /^decode: row 1, column 1 of the latents is NaN/],
    ["texts as latents", (one) => one.decode([["0", "1"] as unknown as number[]]), "argument", /^decode: .*numbers.*"0"/],
    ["null in a latent", (one) => one.decode([[0, null] as unknown as number[]]), "argument", /^decode: .*numbers.*null/],
    ["more samples than memory", (one) => one.sample(1e10), "memory", /^sample: needs [\d.]+ [GT]B of results .*10000000000 rows/],
    [
      "more steps than memory",
      (one) => one.interpolate(clusteredRows(1, SIZE), clusteredRows(1, SIZE), 1e12),
      "memory",
      /^interpolate: .*1000000000000 rows/,
    ],
    ["an object as weights", (one) => one.setParameters({} as never), "argument", /^setParameters: expected a Map .*; received \{\}/],
    [
      "bare arrays as weights",
      async (one) => one.setParameters(await bare(one)),
      "argument",
      /"encoder.0.weight".*\{ data.* a Float32Array/,
    ],
    [
      "weights without a length",
      (one) => one.setParameters(new Map([["encoder.0.weight", { data: 5 }]]) as never),
      "argument",
      /received \{"data":5\}/,
    ],
  ])("%s", async (_, call, code, message) => {
    await using one = model();
    const error = await call(one).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(VaeError);
    expect((error as VaeError).code).toBe(code);
    expect((error as VaeError).message).toMatch(message);
  });

  it.each([5, "ab", {}, [1], [1, 2, 3], [2, 1]])("gaussianPosterior({ logVarianceRange: %j })", (logVarianceRange) => {
    expect(() => gaussianPosterior({ logVarianceRange } as never)).toThrow(VaeError);
    expect(() => gaussianPosterior({ logVarianceRange } as never)).toThrow(/logVarianceRange to be two finite numbers/);
  });

  it("but not finite values outside of the likelihood's range, which encode and reconstruct may be asked about", async () => {
    await using one = model();
    const rows = clusteredRows(2, SIZE).map((value) => 3 * value - 1);
    expect((await one.encode(rows)).mean.every(Number.isFinite)).toBe(true);
    expect(await one.reconstruct(rows)).toHaveLength(2 * SIZE);
    await expect(one.score(rows)).rejects.toThrow(/values in \[0, 1\]/);
    await using real = model({ likelihood: gaussian() });
    expect(await real.score(rows)).toHaveLength(2);
  });
});

async function bare(one: Vae): Promise<never> {
  return new Map([...(await one.parameters())].map(([name, { data }]) => [name, data])) as never;
}
