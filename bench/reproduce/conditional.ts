// A conditional VAE of MNIST through the public options alone: does it draw the digit that was asked for?
//
// A recogniser, a network of its own, reads real test digits and then 1,000 samples at temperature 1. The control is the same
// model asked for one digit and read as another one: what a model gives that passes over its condition.
import {
  adam,
  type CrossEntropy,
  category,
  conv2d,
  cosine,
  crossEntropy,
  type Dataset,
  dense,
  type Network,
  network,
  type VaeOptions,
  vae,
} from "node-vae";
import { table } from "../table.js";

export interface ConditionalResult {
  readonly recogniser: { readonly accuracy: number; readonly rows: number; readonly seconds: number };
  readonly models: readonly {
    readonly seed: number;
    /** Of 1,000 samples, a hundred of each digit. */
    readonly readAsAsked: number;
    /** The same samples read as the digit asked for of another, drawn at random. */
    readonly readAsOther: number;
    readonly testElbo: number;
    readonly seconds: number;
  }[];
}

const SAMPLES = 1000;
const EPOCHS = 30;
const layers = [dense(512, { activation: "relu" }), dense(256, { activation: "relu" })];
const options = {
  input: [28, 28, 1],
  latent: 10,
  encoder: layers,
  decoder: layers.toReversed(),
  likelihood: "bernoulli",
  conditions: { label: category(10) },
} satisfies VaeOptions;

export async function conditional(training: Dataset, test: Dataset, seeds: readonly number[]): Promise<ConditionalResult> {
  const begin = performance.now();
  using recogniser = network({
    input: [28, 28, 1],
    layers: [
      conv2d(16, 3, { stride: 2, activation: "relu" }),
      conv2d(32, 3, { stride: 2, activation: "relu" }),
      dense(128, { activation: "relu" }),
    ],
    loss: crossEntropy(10),
    seed: 1,
  });
  const steps = Math.ceil((3 * training.rows) / 128);
  await recogniser.fit(training, { steps, optimizer: adam({ learningRate: cosine({ from: 2e-3, to: 1e-4, steps }) }) });
  const { accuracy } = await recogniser.evaluate(test);
  const seconds = (performance.now() - begin) / 1000;
  const models = [];
  for (const seed of seeds) models.push(await drawn(training, test, seed, recogniser));
  console.log(`recogniser: ${(100 * accuracy).toFixed(2)} % of ${test.rows} test digits, ${seconds.toFixed(0)} s`);
  const rows = models.map(({ seed, readAsAsked, readAsOther, testElbo, seconds: took }) =>
    [seed, `${readAsAsked} of ${SAMPLES}`, `${readAsOther} of ${SAMPLES}`, testElbo.toFixed(2), took.toFixed(0)].map(String),
  );
  console.log(table(["seed", "read as asked", "control: as another", "test ELBO", "seconds"], rows));
  return { recogniser: { accuracy, rows: test.rows, seconds }, models };
}

async function drawn(training: Dataset, test: Dataset, seed: number, recogniser: Network<CrossEntropy>) {
  const begin = performance.now();
  using model = vae({ ...options, seed });
  await model.fit(training, { epochs: EPOCHS, batchSize: 128, optimizer: adam() });
  const label = Int32Array.from({ length: SAMPLES }, (_, index) => index % 10);
  const { labels } = await recogniser.predict(await model.sample(SAMPLES, { given: { label }, temperature: 1, seed }));
  const count = (wanted: (index: number) => number): number => labels.reduce((sum, read, index) => sum + Number(read === wanted(index)), 0);
  const { elbo: testElbo } = await model.evaluate(test);
  return {
    seed,
    readAsAsked: count((index) => label[index]!),
    readAsOther: count((index) => label[(index * 7 + 3) % SAMPLES]!),
    testElbo,
    seconds: (performance.now() - begin) / 1000,
  };
}
