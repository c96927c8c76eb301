// Observed fields whose numbers stand for something: their likelihood names the categories.
import { describe, expect, it } from "vitest";
import { constantTensor, negate, reshapeTensor, softmaxCrossEntropy, type Tensor } from "../../lib/graph/index.js";
import { defineLikelihood, defineWiring, type FamilyBehaviour, familyOf, vae, type WiringBehaviour } from "../../lib/index.js";
import { clusteredRows } from "../support/data.js";
import { failure } from "../support/failure.js";

const NAMES = ["a", "b", "c"];
const [ROWS, SIZE, TOKENS] = [12, 4, 2];
let count = 0;
let seen: Tensor | undefined;

/** A model of x and of the field `tokens`, two of three categories a row. */
function build(categories: FamilyBehaviour["categories"] = () => NAMES) {
  const kind = `categorical.${count++}`;
  defineLikelihood(kind, {
    parse: () => ({ kind }),
    categories,
    headShape: () => [TOKENS * NAMES.length],
    distribution: (_, head, { rows }) => ({
      family: "categorical",
      draw: () => ({ value: head!, logDensity: head! }),
      logDensity: (value) => negate(softmaxCrossEntropy(reshapeTensor(head!, [rows, TOKENS, NAMES.length]), value)),
    }),
  });
  const [posterior, prior, numbers] = [
    familyOf("posterior", "gaussian"),
    familyOf("prior", "standardNormal"),
    familyOf("likelihood", "bernoulli"),
  ];
  const wiring: WiringBehaviour = {
    parse: () => ({ kind }),
    observations: () => ({ x: "bernoulli" as never, tokens: { kind } }),
    declare: () => ({
      networks: {
        encoder: { layers: [], input: [SIZE], output: posterior.headShape([2])! },
        decoder: { layers: [], input: [2], output: [SIZE] },
        tokens: { layers: [], input: [2], output: [TOKENS * NAMES.length] },
      },
    }),
    trace: (_, batch, scope, samples) => {
      expect(samples).toBe(1);
      seen = batch.tokens;
      const context = { event: [2], rows: batch.x!.shape[0]!, scope };
      const q = posterior.distribution(scope.network("encoder")(batch.x!), context);
      const draw = q.draw(scope.noise);
      const x = numbers.distribution(scope.network("decoder")(draw.value), { ...context, event: [SIZE] });
      const tokens = familyOf("likelihood", { kind }).distribution(scope.network("tokens")(draw.value), { ...context, event: [TOKENS] });
      return {
        latents: { z: { posterior: q, prior: prior.distribution(undefined, context), draw } },
        observations: { x: { distribution: x, value: batch.x! }, tokens: { distribution: tokens, value: batch.tokens! } },
      };
    },
    generate: (_, { z }, rows, scope) => {
      const latent = z ?? constantTensor({ data: Array<number>(rows * 2).fill(0), shape: [rows, 2] });
      return { x: numbers.distribution(scope.network("decoder")(latent), { event: [SIZE], rows, scope }) };
    },
  };
  defineWiring(kind, wiring);
  return vae({ wiring: { kind }, fields: { x: [SIZE], tokens: [TOKENS] }, device: "cpu" });
}

const x = clusteredRows(ROWS, SIZE);
const tokens = Int32Array.from({ length: ROWS * TOKENS }, (_, index) => (index + Math.floor(index / 5)) % NAMES.length);
const fieldOf = (data: Int32Array | Uint8Array | Float32Array, names?: readonly string[]) => ({
  data,
  shape: [TOKENS],
  ...(names === undefined ? {} : { names }),
});

describe("a field of categories", () => {
  it("reaches the wiring as int32 [rows, size], whatever holds the numbers", async () => {
    await using model = build();
    const scores = await model.score({ x, tokens: fieldOf(tokens) });
    expect(seen).toMatchObject({ dtype: "int32", shape: [16, TOKENS] });
    // Bytes are not brought to 0 … 1 here.
    expect(await model.score({ x, tokens: fieldOf(Uint8Array.from(tokens)) })).toEqual(scores);
    expect(await model.score({ x, tokens: fieldOf(Float32Array.from(tokens)) })).toEqual(scores);
    expect(
      await model.score({
        x,
        tokens: fieldOf(
          tokens.map((token) => (token + 1) % 3),
          ["c", "a", "b"],
        ),
      }),
    ).toEqual(scores);
    expect(await model.score({ x, tokens: fieldOf(tokens.map((token) => (token + 1) % 3)) })).not.toEqual(scores);
    // Also where the sizes of the latents are asked for before any rows were there.
    await using untouched = build();
    expect(await untouched.decode([[0, 0]])).toHaveLength(SIZE);
    expect(seen).toMatchObject({ dtype: "int32" });
  });

  it("holds no others, which would cost nothing", async () => {
    await using model = build();
    for (const wrong of [3, -1, 1.5]) {
      const data = Float32Array.from(tokens);
      data[2 * 5 + 1] = wrong;
      const refused = { code: "data", message: expect.stringContaining(`unknown category ${wrong} of tokens in row 5`) };
      await expect(model.fit({ x, tokens: fieldOf(data) }, { steps: 1 })).rejects.toMatchObject(refused);
    }
    const named = model.score({ x, tokens: fieldOf(tokens, ["a", "b", "d"]) });
    await expect(named).rejects.toMatchObject({
      code: "data",
      message: expect.stringMatching(/unknown category "d" of tokens in row 1\b/),
    });
  });

  it.each<[string, unknown]>([
    ["nothing", null],
    ["a number", 3],
    ["no names", []],
    ["a name twice", ["a", "a"]],
    ["a number among names", ["a", 1]],
    ["holes", Array(2)],
  ])("is refused where its likelihood gives %s as categories", (_, wrong) => {
    const error = failure(() => build(() => wrong as readonly string[]));
    expect(error.code).toBe("argument");
    expect(error.message).toMatch(/likelihood categorical\.\d+: expected categories to give their names, all different/);
  });
});
