// Hostile and careless calls of everything that is exported: every call must succeed, or fail as a VaeError, in bounded time.
import { chooser, Own, spoiled, zoo } from "./zoo.mjs";

/** Calls that take longer than this on their own, or to settle, are a failure; a loaded machine is slow. */
const LONGEST_SECONDS = 20;
/** When a model's call has gone on for so long, it is disposed of: a training of very many steps is what was asked for. */
const PATIENCE_MILLISECONDS = 250;

const numbers = (count) => Array.from({ length: count }, (_, index) => Math.sin(index) / 2 + 0.5);
const sizeOf = (shape) => shape.reduce((size, dimension) => size * dimension, 1);

/** Good arguments for the functions that graph and ops have in common; `f`, `i` and `b` make floats, indices and bytes. */
function sharedCalls({ f, i, b }) {
  const unary = "absolute cos exp expm1 floor isFinite log log1p negate reciprocal relu sigmoid sign sin softplus sqrt square tanh";
  const binary = "add divide equal greater greaterEqual less lessEqual maximum minimum multiply notEqual power subtract";
  const windows = { stride: 2, padding: "same", dilation: 1, groups: 1 };
  return {
    ...Object.fromEntries(unary.split(" ").map((name) => [name, () => [f([2, 3])]])),
    ...Object.fromEntries(binary.split(" ").map((name) => [name, () => [f([2, 3]), f([3])]])),
    averagePool2d: () => [f([1, 4, 4, 2]), 2, { stride: 1, padding: "valid" }],
    broadcastTo: () => [f([3]), [2, 3]],
    cast: () => [b([2, 3])],
    cholesky: () => [f([2, 2])],
    clamp: () => [f([2, 3]), 0, f([3])],
    concatenate: () => [[f([2, 3]), f([1, 3])], 0],
    conv1d: () => [f([1, 6, 2]), f([3, 2, 4]), { ...windows, padding: [1, 1] }],
    conv2d: () => [f([1, 5, 5, 2]), f([3, 3, 2, 4]), windows],
    conv2dInputGradient: () => [f([1, 3, 3, 4]), f([3, 3, 2, 4]), { ...windows, inputSize: [5, 5] }],
    conv2dWeightGradient: () => [f([1, 5, 5, 2]), f([1, 3, 3, 4]), { ...windows, kernelSize: [3, 3] }],
    convTranspose1d: () => [f([1, 3, 4]), f([3, 2, 4]), { ...windows, padding: "same", outputSize: 6 }],
    convTranspose2d: () => [f([1, 3, 3, 4]), f([3, 3, 2, 4]), { ...windows, outputSize: [6, 6] }],
    crossEntropy: () => [f([2, 3]), i([2], 3)],
    cumulativeSum: () => [f([2, 3]), 1, { reverse: true, exclusive: false }],
    embedding: () => [f([5, 3]), i([4], 5)],
    fold: () => [f([1, 2, 2, 3, 3, 1]), { inputSize: [5, 5], stride: 2 }],
    gather: () => [b([5, 3]), i([4], 5)],
    logDeterminant: () => [f([2, 2])],
    logSoftmax: () => [f([2, 3]), { axis: 1 }],
    logsumexp: () => [f([2, 3]), { axes: [1], keepDimensions: true }],
    matmul: () => [f([2, 3]), f([3, 4]), { transposeA: false, transposeB: false }],
    max: () => [f([2, 3]), { axes: 0 }],
    maxPool2d: () => [f([1, 4, 4, 2]), [2, 2], { padding: [[1, 0], [0, 1]] }], // biome-ignore format: a table of calls
    mean: () => [f([2, 3]), { axes: -1 }],
    oneHot: () => [i([4], 3), 3],
    pad: () => [f([2, 3]), [[1, 0], [0, 1]], 0.5], // biome-ignore format: a table of calls
    reshape: () => [f([2, 3]), [3, -1]],
    scatterAdd: () => [i([4], 3), f([4, 2]), 3],
    slice: () => [f([2, 3]), [0, 1], [2, 3]],
    softmax: () => [f([2, 3]), { axis: 0 }],
    sort: () => [f([2, 3]), { axis: 0, descending: true }],
    sum: () => [f([2, 3]), { axes: [0, 1] }],
    topK: () => [f([2, 3]), 2, { axis: 1 }],
    transpose: () => [f([2, 3]), [1, 0]],
    triangularSolve: () => [f([2, 2]), f([2, 1]), { transpose: true }],
    unfold: () => [f([1, 5, 5, 1]), { kernelSize: [3, 3], stride: 2, dilation: 1 }],
    upsampleBilinear2d: () => [f([1, 2, 2, 1]), 2],
    upsampleNearest2d: () => [f([1, 2, 2, 1]), [2, 3]],
    where: () => [f([2, 3]), f([3]), 0],
  };
}

function graphCalls(graph) {
  const make = (dtype) => (shape) => graph.input(`x${shape.join("x")}`, shape, dtype);
  const f = make("float32");
  const loss = () => {
    const x = f([3]);
    return [graph.sum(graph.square(x)), x];
  };
  return {
    ...sharedCalls({ f, i: make("int32"), b: make("uint8") }),
    constant: () => [{ data: [1, 2], shape: [2] }],
    evaluate: () => [[graph.add(graph.constant(1), 2)], new Map(), { seed: 1, step: 2 }],
    grad: () => [loss()[0], [loss()[1]]],
    input: () => ["x", [2, 3], "float32"],
    instantiate: () => [graph.opCases()[3]],
    isTensor: () => [f([2])],
    normal: () => [[2, 3], 0],
    opCases: () => [],
    print: () => [[f([2])]],
    rowOf: () => ["add"],
    sameShape: () => [[2, 3], [2, 3]], // biome-ignore format: a table of calls
    showShape: () => [[2, 3]],
    shuffledIndices: () => [{ rows: 10, batch: 4, shuffle: true, stream: 0 }],
    sizeOf: () => [[2, 3]],
    state: () => ["w", [2, 3], "float32"],
    step: () => [],
    stopGradient: () => [f([2, 3])],
    topological: () => [[f([2])]],
    uniform: () => [[2, 3], 1],
  };
}

function opsCalls() {
  const f = (shape) => ({ data: Float32Array.from(numbers(sizeOf(shape))), shape });
  const i = (shape, end) => ({ data: Int32Array.from(numbers(sizeOf(shape)), (value) => Math.floor(value * end)), shape });
  const b = (shape) => ({ data: Uint8Array.from(numbers(sizeOf(shape)), (value) => value * 255), shape });
  const draw = { seed: 1, step: 2, stream: 3 };
  return {
    ...sharedCalls({ f, i, b }),
    bernoulliLogLikelihood: () => [f([2, 3]), f([2, 3])],
    createOps: () => [{ threads: 1, maximumPlans: 2, maximumBytes: 1000, device: "cpu" }],
    gaussianKl: () => [f([2, 3]), f([2, 3])],
    gaussianLogLikelihood: () => [f([2, 3]), f([2, 3]), f([3])],
    ndarray: () => [[1, 2, 3, 4], [2, 2]], // biome-ignore format: a table of calls
    normal: () => [[2, 3], draw],
    reparameterize: () => [f([2, 3]), f([2, 3]), draw],
    shuffledIndices: () => [{ rows: 10, batch: 4, shuffle: true, ...draw }],
    uniform: () => [[2, 3], draw],
  };
}

const rows = () => Float32Array.from(numbers(24));
const dataset = () => ({
  data: rows(),
  rows: 6,
  shape: [4],
  name: "rows",
  labels: Int32Array.of(0, 1, 0, 1, 0, 1),
  labelNames: ["a", "b"],
});
const placement = { device: "cpu", threads: 1 };

function indexCalls(index, path) {
  const { adam, batchNorm, dense, elbo, gaussian, warmup } = index;
  const shaped = { activation: "relu", bias: true, initializer: "heNormal" };
  const windows = { stride: 2, padding: "same", dilation: 1, groups: 1, ...shaped };
  const normalization = { epsilon: 1e-5, affine: true, activation: "relu" };
  const rate = { learningRate: warmup({ steps: 3, target: 0.1 }), clipNorm: 1 };
  const model = { input: [4], latent: 2, encoder: [dense(3), batchNorm()], decoder: [dense(3)], likelihood: gaussian(), ...placement };
  return {
    adam: () => [{ ...rate, beta1: 0.9, beta2: 0.99, epsilon: 1e-8 }],
    adamW: () => [{ ...rate, weightDecay: 0.1 }],
    averagePool2d: () => [2, { stride: [2, 1], padding: 1 }],
    batchNorm: () => [{ ...normalization, momentum: 0.9 }],
    bernoulli: () => [{ binarize: "stochastic" }],
    concatenateDatasets: () => [[dataset(), dataset()]],
    constant: () => [0.5],
    conv1d: () => [4, 3, windows],
    conv2d: () => [4, [3, 3], windows],
    convTranspose1d: () => [4, 3, { ...windows, outputSize: 8 }],
    convTranspose2d: () => [4, 3, { ...windows, outputSize: [8, 8] }],
    cosine: () => [{ from: 1, to: 0, steps: 10 }],
    dense: () => [4, shaped],
    dropout: () => [0.5],
    elbo: () => [{ beta: 2, kl: "monteCarlo" }],
    exponential: () => [{ from: 1, factor: 0.5, steps: 10 }],
    flatten: () => [],
    gaussian: () => [{ scale: "learned", minimumScale: 0.1 }],
    gaussianPosterior: () => [{ logVarianceRange: [-10, 10] }],
    globalAveragePool: () => [],
    groupNorm: () => [2, normalization],
    instanceNorm: () => [normalization],
    layerNorm: () => [normalization],
    linear: () => [{ from: 0, to: 1, steps: 10 }],
    load: () => [path, placement],
    maxPool2d: () => [[2, 2], { stride: 2, padding: "same" }],
    readSafetensors: () => [path],
    reshape: () => [[2, 2]],
    residual: () => [[dense(4)], { shortcut: [dense(4)], activation: "relu" }],
    sequential: () => [[dense(4), dense(3)]],
    sgd: () => [{ ...rate, momentum: 0.9, nesterov: true }],
    split: () => [dataset(), { fraction: 0.5, seed: 1 }],
    standardNormal: () => [],
    stepDecay: () => [{ from: 1, factor: 0.5, every: 3 }],
    subset: () => [dataset(), { start: 1, end: 3 }],
    upsample: () => [2, { method: "bilinear" }],
    vae: () => [{ ...model, objective: elbo({ beta: 2 }), posterior: "gaussian", prior: "standardNormal", seed: 3 }],
    warmup: () => [{ steps: 3, target: adam && warmup({ steps: 2, target: 1 }) }],
    ...Object.fromEntries(Object.entries({
      image: { size: [8, 8, 1], filters: [2, 3], hidden: 4, latent: 2, activation: "relu" },
      image28: { latent: 2, channels: 1, activation: "tanh" },
      image64: { latent: 2, channels: 3 },
      table: { columns: 4, hidden: [3], latent: 2 },
    }).map(([name, options]) => [`presets.${name}`, () => [options]])), // biome-ignore format: a table of calls
    "datasets.from": () => [rows(), [4]],
  };
}

function modelCalls(path, parameters, choose) {
  return {
    decode: () => [[[0.5, 1], [1, 2]]], // biome-ignore format: a table of calls
    encode: () => [rows()],
    evaluate: () => [dataset(), { importanceSamples: 3, seed: 1 }],
    fit: () => [rows(), { steps: 2, batchSize: 4, shuffle: true, validation: dataset(), onProgress: () => undefined }],
    interpolate: () => [rows().subarray(0, 4), [[1, 0, 1, 0]], 3, { spherical: true }],
    memory: () => [],
    parameters: () => [],
    reconstruct: () => [[Array.from(rows().subarray(0, 4))]],
    sample: () => [3, { temperature: 0.5, seed: 1 }],
    save: () => [path],
    score: () => [dataset(), { samples: 2, seed: 3 }],
    setParameters: () => [someParameters(parameters, choose)],
    summary: () => [],
    train: () => [rows(), { steps: 2, every: 1, batchSize: 4 }],
  };
}

/** The parameters, or some of them with something else. */
function someParameters(parameters, choose) {
  const map = new Map(parameters);
  if (choose.random() < 0.5) return map;
  return map.set(choose.of([...map.keys()]), spoiled(choose.of([...map.values()]), choose));
}

/** Good arguments, spoiled in one of several ways. */
function argumentsOf(good, choose) {
  const valid = good();
  const way = choose.below(20);
  if (way < 2) return valid;
  if (way < 5) return Array.from({ length: choose.below(4) }, () => choose.of(zoo)());
  if (way < 7) return [...valid, choose.of(zoo)()];
  if (way < 8) return valid.slice(0, -1);
  if (valid.length === 0) return [choose.of(zoo)()];
  const place = choose.below(valid.length);
  return valid.map((value, index) => (index === place ? spoiled(value, choose) : value));
}

/**
 * Calls everything with spoiled arguments.
 *
 * @param library `{ index, ops, graph }`, the package's three entries
 * @param options `calls` in all from `seed`; `folder` is one to save into; `only`, a part of a name, calls what has it alone
 * @returns `failures` as text, and how many calls there were of each function with how many that succeeded
 */
export async function hostileCalls({ index, ops, graph }, { calls, seed, folder, only = "", onCall = () => undefined }) {
  const { VaeError } = index;
  const choose = chooser(seed);
  const path = `${folder}/model.vae`;
  const makeModel = () =>
    index.vae({ input: [4], latent: 2, encoder: [index.dense(3)], decoder: [index.dense(3)], likelihood: "gaussian", ...placement });
  let model = makeModel();
  await model.save(path);
  const failures = [];
  const counts = new Map();
  let current = "before the first call";
  const unhandled = (error) => failures.push(`${current}: unhandled rejection ${shown(error)}`);
  process.on("unhandledRejection", unhandled);

  const shown = (error) =>
    String(error?.stack ?? error)
      .split("\n")
      .slice(0, 6)
      .join("\n");
  const isFine = (error) => {
    if (error instanceof Own) return true;
    if (!(error instanceof VaeError) || error.code === "plan" || error.code === "native") return false;
    return Buffer.byteLength(error.message) <= 2048;
  };
  const from = (group, name, table) => {
    const calls = Object.entries(table).map(([key, good]) => {
      const target = key.split(".").reduce((object, part) => object?.[part], group);
      if (typeof target !== "function") throw new Error(`${name}.${key} is not exported: mend the table of calls`);
      return { name: `${name}.${key}`, good, call: (given) => target(...given) };
    });
    return calls;
  };
  const ofModel = Object.entries(modelCalls(path, await model.parameters(), choose)).map(([name, good]) => ({
    name: `model.${name}`,
    good,
    call: (given) => model[name](...given),
  }));
  const all = [
    ...from(graph, "graph", graphCalls(graph)),
    ...from(ops, "ops", opsCalls()),
    ...from(index, "index", indexCalls(index, path)),
    ...ofModel,
  ].filter(({ name }) => name.includes(only));

  const finish = async (result) => {
    if (result instanceof index.Vae) result.dispose();
    else if (typeof result?.dispose === "function") result.dispose();
    else if (typeof result?.next === "function" && typeof result.return === "function") {
      await result.next();
      await result.next();
      await result.return();
    } else if (typeof result?.then === "function") await finish(await result);
  };

  for (let number = 0; number < calls; number++) {
    const { name, good, call } = choose.of(all);
    const given = argumentsOf(good, choose);
    const count = counts.get(name) ?? { calls: 0, successes: 0 };
    counts.set(name, count);
    count.calls++;
    current = `call ${number} (seed ${seed}), ${name}(${given.map((value) => picture(value)).join(", ")})`;
    onCall(current);
    const begin = performance.now();
    let patience;
    let limit;
    try {
      const running = finish(call(given));
      const impatient = new Promise((_, reject) => {
        limit = setTimeout(() => reject(new Error(`not settled after ${LONGEST_SECONDS} s`)), LONGEST_SECONDS * 1000);
      });
      patience = setTimeout(() => model.dispose(), PATIENCE_MILLISECONDS);
      await Promise.race([running, impatient]);
      count.successes++;
    } catch (error) {
      if (!isFine(error)) failures.push(`${current}: ${error?.code ?? ""} ${shown(error)}`);
    } finally {
      clearTimeout(patience);
      clearTimeout(limit);
    }
    const seconds = (performance.now() - begin) / 1000;
    if (seconds > LONGEST_SECONDS) failures.push(`${current}: took ${seconds.toFixed(1)} s`);
    model = await usable(model, makeModel);
  }
  current = "after the last call";
  await new Promise((resolve) => setTimeout(resolve, 50));
  process.off("unhandledRejection", unhandled);
  const isAlive = (await model.sample(1)).length === 4;
  if (!isAlive) failures.push("the model does not sample any more");
  model.dispose();
  return { failures, counts };
}

/** The model, or a new one where it was disposed of. */
async function usable(model, makeModel) {
  try {
    model.memory();
    return model;
  } catch {
    return makeModel();
  }
}

/** A value for the report of a failure; must bear all that the zoo holds. */
function picture(value, depth = 0) {
  try {
    if (typeof value === "string") return JSON.stringify(value.slice(0, 40));
    if (typeof value === "bigint") return `${value}n`;
    if (typeof value !== "object" || value === null) return String(value).slice(0, 40);
    if (depth > 2) return "…";
    if (Array.isArray(value)) return `[${value.slice(0, 8).map((part) => picture(part, depth + 1))}]`;
    if (ArrayBuffer.isView(value)) return `${value.constructor.name}(${value.byteLength} bytes)`;
    const entries = Object.entries(value).slice(0, 8);
    return `${value.constructor?.name ?? "null"}{${entries.map(([key, part]) => `${key}: ${picture(part, depth + 1)}`).join(", ")}}`;
  } catch {
    return "<unreadable>";
  }
}
