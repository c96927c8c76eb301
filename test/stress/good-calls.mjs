// Good arguments for everything that is exported, by function: what hostile calls begin with.
import { pathToFileURL } from "node:url";
import { anySource } from "./sources.mjs";
import { spoiled } from "./zoo.mjs";

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

/** What the graph calls the functions that ops name like layers. */
const ofGraph = {
  averagePool2d: "poolAverage2d",
  conv1d: "convolve1d",
  conv2d: "convolve2d",
  convTranspose1d: "convolveTransposed1d",
  convTranspose2d: "convolveTransposed2d",
  crossEntropy: "softmaxCrossEntropy",
  maxPool2d: "poolMax2d",
  reshape: "reshapeTensor",
};

export function graphCalls(graph) {
  const make = (dtype) => (shape) => graph.input(`x${shape.join("x")}`, shape, dtype);
  const f = make("float32");
  const loss = () => {
    const x = f([3]);
    return [graph.sum(graph.square(x)), x];
  };
  return {
    ...Object.fromEntries(
      Object.entries(sharedCalls({ f, i: make("int32"), b: make("uint8") })).map(([name, good]) => [ofGraph[name] ?? name, good]),
    ),
    constantTensor: () => [{ data: [1, 2], shape: [2] }],
    evaluate: () => [[graph.add(graph.constantTensor(1), 2)], new Map(), { seed: 1, step: 2 }],
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

export function opsCalls() {
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
const withFields = () => ({
  ...dataset(),
  fields: {
    site: { data: Int32Array.of(0, 1, 0, 1, 0, 1), shape: [], names: ["A", "B"] },
    tokens: { data: new Int32Array(12), shape: [2] },
  },
});
const named = () => ({ ...dataset(), columns: ["a", "b", "c", "d"] });
const csvPreparation = () => ({
  columns: [
    { name: "width", mean: 1, standardDeviation: 2, average: 1 },
    { name: "colour", categories: ["blue", "red"] },
  ],
  label: { name: "state", names: ["a", "b"] },
  standardize: true,
});
export const placement = { device: "cpu", threads: 1 };

/** Four rows, two draws each of two. */
function traceOf(index, graph) {
  const of = (name) => index.gaussianDistribution(graph.input(name, [4, 3]), graph.input(`${name}v`, [4, 3]));
  const z = graph.input("z", [4, 3]);
  const draw = { value: z, logDensity: z };
  return {
    latents: { z: { posterior: of("q"), prior: of("p"), draw } },
    observations: { x: { distribution: of("x"), value: graph.input("s", [4, 3]) } },
  };
}

/** @param files of every format, of `makeFiles` */
export function indexCalls(index, graph, files, choose) {
  const at = (path) => located(path, choose);
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
    category: () => [choose.of([3, ["a", "b"]]), { at: "decoder" }],
    clipNorm: () => [1],
    concatenateDatasets: () => choose.of([[[dataset(), dataset()]], [[withFields(), withFields()]]]),
    constant: () => [0.5],
    conv1d: () => [4, 3, windows],
    conv2d: () => [4, [3, 3], windows],
    convTranspose1d: () => [4, 3, { ...windows, outputSize: 8 }],
    convTranspose2d: () => [4, 3, { ...windows, outputSize: [8, 8] }],
    cosine: () => [{ from: 1, to: 0, steps: 10 }],
    crossEntropy: () => [choose.of([3, ["a", "b"]]), { field: "label" }],
    dense: () => [4, shaped],
    dropout: () => [0.5],
    elbo: () => [{ beta: 2, kl: "monteCarlo" }],
    exponential: () => [{ from: 1, factor: 0.5, steps: 10 }],
    defineDivergence: () => ["stress", "stress", () => undefined],
    familyOf: () => [choose.of(["prior", "posterior", "likelihood"]), choose.of(["gaussian", "standardNormal", { kind: "gaussian" }])],
    film: () => ["label", { name: "modulated" }],
    fieldsOf: () => [withFields()],
    flatten: () => [],
    gaussian: () => [{ scale: "learned", minimumScale: 0.1 }],
    gaussianPosterior: () => [{ logVarianceRange: [-10, 10] }],
    globalAveragePool: () => [],
    groupNorm: () => [2, normalization],
    importanceLogWeights: () => [traceOf(index, graph), 2],
    joinCondition: () => ["label", { name: "joined" }],
    klContributions: () => [traceOf(index, graph), "monteCarlo"],
    logLikelihood: () => [traceOf(index, graph)],
    named: () => ["features", dense(3)],
    real: () => [{ shape: [2], at: "encoder" }],
    repeatRows: () => [graph.input("x", [2, 3]), 4],
    standardize: () => [{ except: ["a"] }],
    sumContributions: () => [graph.input("x", [2, 3])],
    instanceNorm: () => [normalization],
    layerNorm: () => [normalization],
    linear: () => [{ from: 0, to: 1, steps: 10 }],
    loadNetwork: () => [at(files.network), { ...placement, tier: "portable" }],
    load: () => [at(files.model), { ...placement, tier: "portable", precision: choose.of(["float32", "tf32"]) }],
    maxPool2d: () => [[2, 2], { stride: 2, padding: "same" }],
    meanSquaredError: () => [{ field: "y", shape: [2] }],
    network: () => [{ input: [4], layers: [dense(3), batchNorm()], loss: index.crossEntropy(2), seed: 3, ...placement }],
    readSafetensors: () => [at(files.model)],
    reshape: () => [[2, 2]],
    residual: () => [[dense(4)], { shortcut: [dense(4)], activation: "relu" }],
    sequential: () => [[dense(4), dense(3)]],
    sgd: () => [{ ...rate, momentum: 0.9, nesterov: true }],
    split: () => [withFields(), { fraction: 0.5, seed: 1 }],
    standardNormal: () => [],
    stepDecay: () => [{ from: 1, factor: 0.5, every: 3 }],
    subset: () => [withFields(), { start: 1, end: 3 }],
    streamed: () => [choose.random() < 0.5 ? () => anySource(choose) : anySource(choose), { rows: 6, shuffleBuffer: 3 }],
    upsample: () => [2, { method: "bilinear" }],
    vae: () => [{ ...model, objective: elbo({ beta: 2 }), posterior: "gaussian", prior: "standardNormal", seed: 3 }],
    withField: () => [
      withFields(),
      choose.of(["site", "label", "age"]),
      choose.of([() => "A", () => 3, () => numbers(6), () => Int32Array.from(numbers(6)), () => withFields().fields.site])(),
      choose.of([{}, { shape: [] }]),
    ],
    warmup: () => [{ steps: 3, target: adam && warmup({ steps: 2, target: 1 }) }],
    ...Object.fromEntries(Object.entries({
      image: { size: [8, 8, 1], filters: [2, 3], hidden: 4, latent: 2, activation: "relu" },
      image28: { latent: 2, channels: 1, activation: "tanh" },
      image64: { latent: 2, channels: 3 },
      table: { columns: 4, hidden: [3], latent: 2 },
    }).map(([name, options]) => [`presets.${name}`, () => [options]])), // biome-ignore format: a table of calls
    "datasets.csv": () => [
      at(files.csv),
      {
        ...{ columns: ["width", "height", "colour"], label: "state", categorical: ["colour"], delimiter: ",", decimal: ".", header: true },
        ...{ comment: "#", encoding: "utf-8", missing: "mean", missingValues: ["NA"], standardize: true, maxColumns: 10, maxBytes: 1e6 },
        ...(choose.random() < 0.5 ? { columns: undefined, categorical: undefined, standardize: undefined, like: csvPreparation() } : {}),
      },
    ],
    "datasets.from": () => [choose.random() < 0.5 ? rows() : anySource(choose), [4], { bytes: "raw", maxRows: 100 }],
    "datasets.idx": () => [at(files.idx.path), { labels: at(files.idx.labels), bytes: "scaled", maxBytes: 1e6 }],
    "datasets.images": () => [
      at(files.images),
      { size: [4, 4], channels: 1, labels: "folder", recursive: true, unreadable: "skip", background: 0, depth: 8, maxPixels: 1e6 },
    ],
    "datasets.mnist": () => [{ train: false, limit: 10, bytes: "scaled" }],
    "datasets.npy": () => [at(files.npy.path), { labels: at(files.npy.labels), bytes: "scaled", maxBytes: 1e6 }],
    "datasets.npz": () => [at(files.npz), { key: "rows", labels: "labels", bytes: "scaled", maxBytes: 1e6 }],
    "datasets.records": () => [[{ a: 1, b: 2 }, { a: 3, b: 4 }], { columns: ["b", "a"] }], // biome-ignore format: a table of calls
    "datasets.stream": () => [at(choose.of([files.idx.path, files.npy.path])), { shape: undefined, dtype: undefined, shuffleBuffer: 3 }],
    gaussianDistribution: () => [graph.input("mean", [2, 3]), graph.input("logVariance", [2, 3])],
    saveImages: () => [
      at(files.sheet),
      choose.of([() => rows().subarray(0, 16), () => ({ pairs: [rows().subarray(0, 8), Uint8Array.from(rows().subarray(0, 8))] })])(),
      { shape: [2, 2, 1], columns: 2, scale: 2, gap: 1, background: 9, maxPixels: 1e4 },
    ],
    scheduledValue: () => [warmup({ steps: 3, target: 0.1 }), graph.step()],
    standardizer: () => choose.of([[named(), { except: ["b"] }], [JSON.parse(JSON.stringify(index.standardizer(named())))]]),
    "standardizer.apply": () => [named()],
    "standardizer.invert": () => [rows()],
  };
}

/** Now and then a path as a URL. */
const located = (path, choose) => (choose.random() < 0.2 ? pathToFileURL(path) : path);

export function modelCalls(files, parameters, choose) {
  const source = () => (choose.random() < 0.5 ? rows() : anySource(choose, { mayBeEndless: true }));
  return {
    decode: () => [[[0.5, 1], [1, 2]]], // biome-ignore format: a table of calls
    encode: () => [source()],
    evaluate: () => [choose.of([dataset(), source()]), { importanceSamples: 3, seed: 1 }],
    fit: () => [
      source(),
      { steps: 2, batchSize: 4, shuffle: true, validation: choose.of([dataset(), source()]), maxRows: 50, onProgress: () => undefined },
    ],
    interpolate: () => [choose.of([rows().subarray(0, 4), source()]), [[1, 0, 1, 0]], 3, { spherical: true }],
    memory: () => [],
    parameters: () => [],
    reconstruct: () => [[Array.from(rows().subarray(0, 4))]],
    sample: () => [3, { temperature: 0.5, seed: 1 }],
    save: () => [located(files.model, choose)],
    score: () => [choose.of([dataset(), source()]), { samples: 2, seed: 3 }],
    setParameters: () => [someParameters(parameters, choose)],
    summary: () => [],
    train: () => [source(), { steps: 2, every: 1, batchSize: 4 }],
  };
}

/** Of a classifier of two categories. */
export function networkCalls(files, parameters, choose) {
  const source = () => (choose.random() < 0.5 ? rows() : anySource(choose, { mayBeEndless: true }));
  const labelled = () => choose.of([dataset(), { x: rows(), label: Int32Array.of(0, 1, 0, 1, 0, 1) }]);
  return {
    evaluate: () => [labelled(), { signal: new AbortController().signal }],
    fit: () => [labelled(), { steps: 2, batchSize: 4, validation: labelled(), freeze: ["layers.0"], rates: { "*.head": 0.5 } }],
    memory: () => [],
    parameters: () => [],
    predict: () => [choose.of([dataset(), source()]), { signal: new AbortController().signal }],
    save: () => [located(files.network, choose)],
    setParameters: () => [someParameters(parameters, choose)],
    summary: () => [],
    train: () => [labelled(), { steps: 2, every: 1, batchSize: 4 }],
  };
}

/** The parameters, or some of them with something else. */
function someParameters(parameters, choose) {
  const map = new Map(parameters);
  if (choose.random() < 0.5) return map;
  return map.set(choose.of([...map.keys()]), spoiled(choose.of([...map.values()]), choose));
}
