import { mkdir } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { Command } from "commander";
import { sizeOf } from "../graph/index.js";
import { adam, type Dataset, datasets, dense, load, reshape, type Vae, vae } from "../index.js";
import { fileSystemError } from "../io/files.js";
import { subset } from "../io/index.js";
import { INTERRUPTED } from "./failure.js";
import { Interrupt } from "./interrupt.js";
import { addDeviceOptions, addExamples, type DeviceChoice, placementOf } from "./options.js";
import { writeSheet } from "./output.js";
import { duration, ProgressDisplay } from "./progress.js";

interface DemoOptions extends DeviceChoice {
  readonly quick?: boolean;
  readonly out: string;
}

// The example that every tutorial has, so that the loss can be compared: 104 to 106 nats are usual.
const EPOCHS = 10;
const HIDDEN = 400;
const LATENT = 20;
/** What PyTorch's linear layers begin with. */
const initializer = "fanInUniform";
/** Images side by side on every sheet. */
const COLUMNS = 10;
const CLASSES = 10;

/** `node-vae demo` */
export function demoCommand(): Command {
  const command = new Command("demo")
    .description("Train the usual tutorial example, a 784-400-20 VAE on handwritten digits, and draw pictures with it.")
    .option("--quick", `1 epoch instead of ${EPOCHS}`)
    .option("-o, --out <folder>", "folder for the pictures and the model", "demo-output");
  const examples = [
    ["the whole demo, about half a minute on two cores", "node-vae demo"],
    ["a few seconds of it", "node-vae demo --quick --out quick"],
  ] as const;
  return addExamples(addDeviceOptions(command), examples).action(demo);
}

async function demo(options: DemoOptions): Promise<void> {
  const { out, quick } = options;
  const placement = placementOf(options);
  await makeFolder(out);
  const [training, test] = await Promise.all([datasets.mnist({ train: true }), datasets.mnist({ train: false })]);
  using model = vae({
    input: training.shape,
    latent: LATENT,
    // The heads are spelled out so that they, too, begin as in the tutorial.
    encoder: [dense(HIDDEN, { activation: "relu", initializer }), dense(2 * LATENT, { initializer })],
    decoder: [dense(HIDDEN, { activation: "relu", initializer }), dense(sizeOf(training.shape), { initializer }), reshape(training.shape)],
    likelihood: "bernoulli",
    seed: 1,
    ...placement,
  });
  say(`A VAE with ${LATENT} latent dimensions learns ${training.rows.toLocaleString("en-US")} handwritten digits, on ${model.device}.\n`);
  say(`${model.summary()}\n`);

  const file = join(out, "digits.vae");
  const finished = await learnDigits(model, training, quick === true ? 1 : EPOCHS);
  const { step } = model.training;
  if (step > 0) await model.save(file);
  if (!finished) {
    say(step > 0 ? `interrupted: saved step ${step} to ${file}` : "interrupted before the first step; nothing saved");
    process.exitCode = INTERRUPTED;
    return;
  }
  const { elbo, reconstruction, kl } = await model.evaluate(test);
  say(`test loss ${(-elbo).toFixed(2)} nats per image (reconstruction ${(-reconstruction).toFixed(2)} + KL ${kl.toFixed(2)})\n`);
  await checkSaved(model, await load(file, placement), test, file);
  await drawSheets(model, test, out);
  say(`
Look at
  ${join(out, "samples.png")}          digits that nobody wrote, decoded from random latents
  ${join(out, "reconstructions.png")}  test digits, and below them what is left after ${LATENT} numbers
  ${join(out, "interpolations.png")}   from one test digit (left) to another (right) through the latent space
  ${file}           the model; try: ${programName()} sample ${file} --out more.png`);
}

/** Trains until the end, or until Ctrl-C; says which. */
async function learnDigits(model: Vae, training: Dataset, epochs: number): Promise<boolean> {
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  try {
    using display = new ProgressDisplay();
    const optimizer = adam({ learningRate: 1e-3 });
    const history = await model.fit(training, { epochs, batchSize: 128, optimizer, signal, onProgress: display.show });
    display[Symbol.dispose]();
    say("\nepoch  training loss");
    for (const { epoch, terms } of history.epochs) say(`${String(epoch).padStart(5)}  ${terms.loss!.toFixed(2).padStart(13)}`);
    say(`\ntrained ${history.steps.toLocaleString("en-US")} steps in ${duration(history.seconds)}`);
    return true;
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error;
    return false;
  }
}

async function drawSheets(model: Vae, test: Dataset, out: string): Promise<void> {
  await writeSheet(join(out, "samples.png"), await model.sample(COLUMNS * COLUMNS, { seed: 1 }), test.shape, COLUMNS);

  const originals = subset(test, { end: 3 * COLUMNS });
  const reconstructions = await model.reconstruct(originals);
  await writeSheet(join(out, "reconstructions.png"), { pairs: [originals.data, reconstructions] }, test.shape, COLUMNS);

  // From the most typical image of every class to that of the next class.
  const candidates = subset(test, { end: 1000 });
  const { mean } = await model.encode(candidates);
  const typical = Array.from({ length: CLASSES }, (_, label) => subset(candidates, [mostTypical(mean, candidates.labels!, label)]));
  const path: Float32Array[] = [];
  for (const [place, from] of typical.entries()) path.push(await model.interpolate(from, typical[(place + 1) % CLASSES]!, COLUMNS));
  const images = new Float32Array(path.flatMap((row) => [...row]));
  await writeSheet(join(out, "interpolations.png"), images, test.shape, COLUMNS);
}

/** The row of a class whose latent mean is nearest to the average over the class. */
function mostTypical(latents: Float32Array, labels: Int32Array, label: number): number {
  const rows = [...labels.keys()].filter((row) => labels[row] === label);
  const latentOf = (row: number): Float32Array => latents.subarray(row * LATENT, (row + 1) * LATENT);
  const centre = new Float32Array(LATENT).map(
    (_, dimension) => rows.reduce((sum, row) => sum + latentOf(row)[dimension]!, 0) / rows.length,
  );
  const distance = (row: number): number => Math.hypot(...latentOf(row).map((value, dimension) => value - centre[dimension]!));
  return rows.reduce((best, row) => (distance(row) < distance(best) ? row : best));
}

/** Shows that a saved model is the model: the same numbers come out, to the last bit. */
async function checkSaved(model: Vae, loaded: Vae, test: Dataset, file: string): Promise<void> {
  using again = loaded;
  const rows = subset(test, { end: 100 });
  const [before, after] = await Promise.all([model.reconstruct(rows), again.reconstruct(rows)]);
  const different = before.findIndex((value, index) => !Object.is(value, after[index]));
  if (different >= 0)
    throw new Error(`the saved model reconstructs otherwise: value ${different} is ${after[different]}, not ${before[different]}`);
  say(`saved ${file}, loaded it again: 100 reconstructions are identical, bit for bit`);
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (cause) {
    throw fileSystemError({ operation: "--out", path }, cause);
  }
}

/** What to type to come here: the installed command, or in a clone the compiled file. */
function programName(): string {
  const [, script = ""] = process.argv;
  return basename(script) === "main.js" ? `node ${relative(process.cwd(), script)}` : "node-vae";
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
