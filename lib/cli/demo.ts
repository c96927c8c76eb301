import { mkdir } from "node:fs/promises";
import { basename, join, relative } from "node:path";
import { Argument, Command } from "commander";
import { adam, type Dataset, type History, load, type Vae, vae } from "../index.js";
import { fileSystemError } from "../io/files.js";
import { subset } from "../io/index.js";
import { drawInterpolations, drawReconstructions, drawSamples, drawTraversals } from "./demo-sheets.js";
import { type Subject, type SubjectName, subjects } from "./demo-subjects.js";
import { trainAndSave } from "./ending.js";
import { addDeviceOptions, addExamples, type DeviceChoice, placementOf, placeOf } from "./options.js";
import { checkOutput } from "./output-check.js";
import { duration, ProgressDisplay } from "./progress.js";

interface DemoOptions extends DeviceChoice {
  readonly quick?: boolean;
  readonly data?: string;
  readonly out?: string;
}

/** What it may draw. */
const SHEETS = ["samples.png", "reconstructions.png", "interpolations.png", "traversals.png"] as const;

/** `node-vae demo` */
export function demoCommand(): Command {
  const names = Object.keys(subjects);
  const command = new Command("demo")
    .description(
      "Train a VAE and draw pictures with it: the usual tutorial example, 784-400-20 on handwritten digits, or a convolutional one on 28 × 28 clothes or on 64 × 64 emoji.",
    )
    .addArgument(new Argument("[subject]", "what to learn").choices(names).default("digits"))
    .option("-d, --data <folder>", "fashion, emoji: folder with the images (default: the package fashion-mnist)")
    .option("--quick", "a fraction of the epochs, to see that everything works; the pictures are those of a hardly trained model")
    .option("-o, --out <folder>", "folder for the pictures and the model (default: demo-output, demo-output/fashion, …)");
  const examples = [
    ["the whole demo, about half a minute on two cores", "node-vae demo"],
    ["a few seconds of it", "node-vae demo --quick --out quick"],
    ["a convolutional VAE on Fashion-MNIST, a few minutes", "node-vae demo fashion --data fashion-mnist"],
  ] as const;
  return addExamples(addDeviceOptions(command), examples).action(demo);
}

async function demo(name: SubjectName, options: DemoOptions): Promise<void> {
  const subject: Subject = subjects[name];
  const { out = name === "digits" ? "demo-output" : join("demo-output", name), quick } = options;
  const placement = placementOf(options);
  const file = join(out, `${name}.vae`);
  await makeFolder(out);
  for (const path of [file, ...SHEETS.map((sheet) => join(out, sheet))]) await checkOutput(path, [], basename(path));
  const { training, test } = await subject.load(options.data);
  using model = vae({ ...subject.model(training), seed: 1, ...placement });
  const { latent } = model.config;
  say(`A VAE with ${latent} latent dimensions learns ${training.rows.toLocaleString("en-US")} ${subject.many}, on ${placeOf(model)}.\n`);
  say(`${model.summary()}\n`);

  const history = await trainAndSave(model, file, (signal) => learn(model, training, signal, subject, quick === true));
  if (history === undefined) return;
  say("\nepoch  training loss");
  const shown = history.epochs.filter((_, index, { length }) => length <= 10 || (index + 1) % Math.ceil(length / 10) === 0);
  for (const { epoch, metrics } of shown) say(`${String(epoch).padStart(5)}  ${metrics.loss!.toFixed(2).padStart(13)}`);
  say(`\ntrained ${history.steps.toLocaleString("en-US")} steps in ${duration(history.seconds)}`);
  const evaluation = await model.evaluate(test);
  const { elbo, reconstruction, kl } = evaluation;
  say(`test loss ${(-elbo).toFixed(2)} nats per image (reconstruction ${(-reconstruction).toFixed(2)} + KL ${kl.toFixed(2)})\n`);
  await checkSaved(model, await load(file, placement), test, file);

  const { many, one } = subject;
  const sheets: (readonly [picture: string, what: string])[] = [
    ["samples.png", `${many} that nobody made, decoded from random latents`],
    ["reconstructions.png", `test images, and below them what is left after ${latent} numbers`],
  ];
  await drawSamples(model, test, out);
  await drawReconstructions(model, test, out);
  if (test.labels !== undefined) {
    await drawInterpolations(model, test, out);
    sheets.push(["interpolations.png", `from one test image (left) to another (right) through the latent space`]);
  }
  if (subject.traversals) {
    await drawTraversals(model, test, evaluation, out);
    sheets.push(["traversals.png", `one ${one} with one latent dimension changed (line: z and its number; column: its value)`]);
  }
  const lines = [...sheets, [basename(file), `the model; try: ${programName()} sample ${file} --out more.png`] as const];
  const width = Math.max(...lines.map(([picture]) => join(out, picture).length));
  if (quick === true) {
    const epochs = `${subject.quickEpochs} of ${subject.epochs} epochs`;
    say(`\nAfter ${epochs} the model has learnt little: its pictures are blurred or shapeless. Leave out --quick to train them all.`);
  }
  say(`\nLook at\n${lines.map(([picture, what]) => `  ${join(out, picture).padEnd(width)}  ${what}`).join("\n")}`);
}

async function learn(model: Vae, training: Dataset, signal: AbortSignal, subject: Subject, quick: boolean): Promise<History> {
  const epochs = quick ? subject.quickEpochs : subject.epochs;
  const optimizer = adam({ learningRate: 1e-3 });
  using display = new ProgressDisplay();
  return await model.fit(training, { epochs, batchSize: subject.batchSize, optimizer, signal, onProgress: display.show });
}

/** Shows that a saved model is the model: the same numbers come out, to the last bit. */
async function checkSaved(model: Vae, loaded: Vae, test: Dataset, file: string): Promise<void> {
  using again = loaded;
  const rows = subset(test, { end: Math.min(100, test.rows) });
  const [before, after] = await Promise.all([model.reconstruct(rows), again.reconstruct(rows)]);
  const different = before.findIndex((value, index) => !Object.is(value, after[index]));
  if (different >= 0)
    throw new Error(`the saved model reconstructs otherwise: value ${different} is ${after[different]}, not ${before[different]}`);
  say(`saved ${file}, loaded it again: ${rows.rows} reconstructions are identical, bit for bit`);
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
