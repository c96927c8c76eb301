// What is saved can be loaded, whatever else goes on; what cannot be loaded says why.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  adam,
  defineLayer,
  defineLikelihood,
  definePrior,
  dense,
  load,
  sgd,
  type Vae,
  VaeError,
  type VaeOptions,
  vae,
} from "../../lib/index.js";
import { loadCheckpoint, type StoredTensor, saveCheckpoint } from "../../lib/io/index.js";
import { clusteredRows } from "../support/data.js";

const SIZE = 6;
const rows = clusteredRows(96, SIZE);
const options: VaeOptions = { input: [SIZE], latent: 2, encoder: [dense(8)], decoder: [dense(8)], likelihood: "bernoulli" };
const model = (): Vae => vae({ ...options, device: "cpu", threads: 1 });

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "node-vae-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function rejection(promise: Promise<unknown>): Promise<VaeError> {
  const error: unknown = await promise.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(VaeError);
  return error as VaeError;
}

describe("save", () => {
  test("beside a training that takes up another optimizer gives the state before it or after it", async () => {
    const path = join(folder, "race.vae");
    const seen = new Set<string>();
    // Saved before the training begins, and then one turn later each time: it takes up its optimizer once its step is compiled.
    for (let turns = -1; turns < 12; turns++) {
      await using one = model();
      await one.fit(rows, { steps: 2, optimizer: adam() });
      const early = turns < 0 ? one.save(path) : undefined;
      const training = one.fit(rows, { steps: 3, optimizer: sgd({ learningRate: 1e-3, momentum: 0.9 }) });
      for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate);
      await Promise.all([early ?? one.save(path), training]);
      await using again = await load(path, { device: "cpu", threads: 1 });
      const { step, optimizer, optimizerStart } = again.training;
      seen.add(optimizer!.kind);
      expect(optimizerStart).toBe(optimizer!.kind === "sgd" ? 2 : 0);
      expect(step).toBeGreaterThanOrEqual(2);
    }
    expect(seen).toEqual(new Set(["adam", "sgd"]));
  });

  test("refuses weights that are not finite, and keeps the file that is there", async () => {
    const path = join(folder, "good.vae");
    await using one = model();
    await one.fit(rows, { steps: 1 });
    await one.save(path);
    const before = await readFile(path);
    const spoiling = one.train(rows, { steps: 1, every: 1, optimizer: sgd({ learningRate: 1e39 }) });
    await spoiling.next(); // nobody has looked at what the step made of the weights yet
    const error = await rejection(one.save(path));
    expect(error.code).toBe("data");
    expect(error.message).toMatch(/^save: value \d+ of "[\w.]+" is (NaN|-?Infinity); expected finite weights/);
    expect(await readFile(path)).toEqual(before);
    expect((await rejection(spoiling.next())).code).toBe("diverged");
    await one.save(path);
  });

  test.each([[undefined], [5], [""], [{}]])("to %j is no path", async (path) => {
    await using one = model();
    const error = await rejection(one.save(path as string));
    expect(error.code).toBe("argument");
    expect(error.message).toMatch(/^save: expected the path of a file; received /);
    const other = await rejection(load(path as string));
    expect(other.code).toBe("argument");
    expect(other.message).toMatch(/^load: expected the path of a file; received /);
  });
});

describe("load refuses", () => {
  type Checkpoint = Awaited<ReturnType<typeof loadCheckpoint>>;
  const changed = async (change: (checkpoint: Checkpoint, tensors: Map<string, StoredTensor>) => Partial<Checkpoint> | undefined) => {
    const path = join(folder, "changed.vae");
    await using one = model();
    await one.fit(rows, { steps: 3 });
    await one.save(path);
    const checkpoint = await loadCheckpoint(path);
    const tensors = new Map(checkpoint.tensors);
    await saveCheckpoint(path, { ...checkpoint, tensors, ...change(checkpoint, tensors) });
    return rejection(load(path, { device: "cpu" }));
  };

  test("weights that are not finite", async () => {
    const error = await changed((_, tensors) => {
      const data = tensors.get("encoder.0.weight")!.data as Float32Array;
      data[7] = Number.NaN;
      return undefined;
    });
    expect(error.code).toBe("data");
    expect(error.message).toMatch(/^load .*changed\.vae: value 7 of "encoder\.0\.weight" is NaN; expected finite weights/);
  });

  test("weights of a permuted shape, of parameters and of optimizer slots", async () => {
    for (const name of ["encoder.0.weight", "encoder.0.weight/firstMoment"]) {
      const error = await changed((_, tensors) => {
        const { dtype, data, shape } = tensors.get(name)!;
        expect(dtype).toBe("float32");
        tensors.set(name, { dtype: "float32", data: data as Float32Array, shape: shape.toReversed() });
        return undefined;
      });
      expect(error.code).toBe("architecture");
      expect(error.message).toContain(`"${name}" has another shape; expected [6,8]; received [8,6]`);
    }
  });

  test("an optimizer that began after the last step", async () => {
    const error = await changed(({ training }) => ({ training: { ...(training as object), optimizerStart: 4 } }));
    expect(error.message).toMatch(
      /^load: .*changed\.vae: the description .* cannot be used: training: expected optimizerStart to be .*at most 3; received 4/,
    );
  });
});

describe("a parameter with a slash in its name would be taken for an optimizer's slot", () => {
  const parameters = { "a/b": { shape: [SIZE], initializer: "ones" } } as const;
  test("of a layer", () => {
    defineLayer("slashed", {
      parse: () => ({ kind: "slashed" }),
      outputShape: (_, input) => input,
      declare: () => ({ parameters }),
      apply: (_, x) => x,
    });
    expect(() => vae({ ...options, encoder: [dense(SIZE), { kind: "slashed" }] })).toThrow(
      /^encoder\.1: slashed: expected the name of a parameter without "\.", "\/" or "\*"; received "a\/b"/,
    );
  });

  test("of a prior, and of a likelihood", () => {
    const shared = {
      declare: () => ({ parameters }),
      distribution: () => assert.fail(),
    };
    definePrior("slashed", { ...shared, parse: () => ({ kind: "slashed" }) });
    expect(() => vae({ ...options, prior: { kind: "slashed" } })).toThrow(/^model prior: .*"a\/b"/);
    defineLikelihood("slashed", { ...shared, parse: () => ({ kind: "slashed" }), headShape: (_, input) => input });
    expect(() => vae({ ...options, likelihood: { kind: "slashed" } })).toThrow(/^model likelihood: .*"a\/b"/);
  });
});

test("setParameters refuses a permuted shape where one is given", async () => {
  await using one = model();
  const parameters = await one.parameters();
  const { data, shape } = parameters.get("encoder.0.weight")!;
  const error = await rejection(one.setParameters(new Map([...parameters, ["encoder.0.weight", { data, shape: shape.toReversed() }]])));
  expect(error.code).toBe("architecture");
  await one.setParameters(new Map([...parameters].map(([name, { data }]) => [name, { data }])));
});

test("bytes that are no checkpoint are a bad file", async () => {
  const path = join(folder, "noise.vae");
  await writeFile(path, "not a model");
  expect((await rejection(load(path))).code).toBe("file");
});
