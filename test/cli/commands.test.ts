import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { zipSync } from "fflate";
import sharp from "sharp";
import { beforeAll, describe, expect, test } from "vitest";
import { writeNpy } from "../../lib/cli/output.js";
import { datasets, load } from "../../lib/index.js";
import { run, start } from "../support/cli.js";
import { temporaryFolder } from "../support/io.js";

const folder = temporaryFolder();
const ROWS = 240;
const SIDE = 6;

/** Images of one bright line each, upright or level, and which of the two: something that two latents can tell. */
function lines(): { readonly pixels: Uint8Array; readonly labels: Uint8Array } {
  const pixels = new Uint8Array(ROWS * SIDE * SIDE);
  const labels = new Uint8Array(ROWS);
  for (let row = 0; row < ROWS; row++) {
    labels[row] = row % 2;
    const place = Math.floor(row / 2) % SIDE;
    for (let along = 0; along < SIDE; along++) {
      const pixel = labels[row] === 0 ? along * SIDE + place : place * SIDE + along;
      pixels[row * SIDE * SIDE + pixel] = 200 + ((row * 7 + along * 13) % 56);
    }
  }
  return { pixels, labels };
}

const { pixels, labels } = lines();
const idx = join(folder, "lines-idx3-ubyte.gz");
const npz = join(folder, "lines.npz");
const csv = join(folder, "lines.csv");
const train = ["--hidden", "16", "--latent", "3", "--batch", "32", "--threads", "1", "--learning-rate", "0.01"];

function idxBytes(): Buffer {
  const header = Buffer.alloc(16);
  for (const [place, word] of [0x803, ROWS, SIDE, SIDE].entries()) header.writeUInt32BE(word, 4 * place);
  return Buffer.concat([header, pixels]);
}

function csvText(): string {
  const names = Array.from({ length: SIDE * SIDE }, (_, index) => `p${index}`);
  const rows = Array.from({ length: ROWS }, (_, row) => {
    const values = pixels.subarray(row * SIDE * SIDE, (row + 1) * SIDE * SIDE);
    return [...values].map((value) => (value / 255).toFixed(4)).concat(labels[row] === 0 ? "upright" : "level");
  });
  return [[...names, "kind"], ...rows].map((cells) => cells.join(",")).join("\n");
}

beforeAll(async () => {
  writeFileSync(idx, gzipSync(idxBytes()));
  writeFileSync(csv, csvText());
  const npy = join(folder, "lines.npy");
  await writeNpy(
    npy,
    Float32Array.from(pixels, (value) => value / 255),
    [ROWS, SIDE * SIDE],
  );
  writeFileSync(npz, zipSync({ "x.npy": readFileSync(npy), "other.npy": readFileSync(npy) }));
});

describe.each([
  { kind: "IDX", data: ["--data", idx], input: [SIDE, SIDE, 1] },
  { kind: "NPZ", data: ["--data", npz, "--key", "x", "--shape", `${SIDE}x${SIDE}`], input: [SIDE, SIDE] },
  { kind: "CSV", data: ["--data", csv, "--label", "kind"], input: [SIDE * SIDE] },
])("from $kind: train, evaluate, sample, encode, reconstruct", ({ kind, data, input }) => {
  const model = join(folder, `${kind}.vae`);
  const images = input.length > 1;

  test("train learns, saves and says so", async () => {
    const untrained = join(folder, `${kind}-1.vae`);
    expect(await run(["train", ...data, ...train, "--steps", "1", "--out", untrained])).toMatchObject({ code: 0 });
    const trained = await run(["train", ...data, ...train, "--steps", "400", "--out", model]);
    expect(trained, trained.stderr).toMatchObject({ code: 0 });
    expect(trained.stdout).toMatch(/^trained 400 steps in .*, loss -?[\d.]+ nats in the last epoch; saved .*\.vae\n$/);
    expect(trained.stderr).toContain(`${ROWS} rows of ${input.join(" × ")} from ${kind === "NPZ" ? npz : kind === "CSV" ? csv : idx}`);
    expect(trained.stderr).toMatch(/bernoulli likelihood, on cpu/);
    // Standard error is a pipe here: lines, no bar, and the last one tells where it ended.
    expect(trained.stderr).toMatch(
      /step 400\/400 \| epoch \d+\/\d+ \| elbo -[\d.]+ \| reconstruction .* \| kl .* steps\/s \| .* samples\/s\n/,
    );

    const [before, after] = await Promise.all(
      [untrained, model].map(async (path) => JSON.parse((await run(["evaluate", path, ...data, "--json"])).stdout)),
    );
    expect(after.rows).toBe(ROWS);
    expect(after.elbo).toBeGreaterThan(before.elbo + 5);
    expect(after.elbo).toBeCloseTo(after.reconstruction - after.kl, 5);
    expect(after.klPerDimension).toHaveLength(3);
    expect(after.negativeLogLikelihood).toBeUndefined();
  });

  test("evaluate prints a table, with the likelihood when asked", async () => {
    const { code, stdout } = await run(["evaluate", model, ...data, "--limit", "50", "--importance-samples", "20"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^rows +50\nloss \(negative ELBO\) +[\d.]+ nats\n/);
    const [loss, likelihood] = ["loss", "negative log-likelihood"].map((name) =>
      Number(new RegExp(`^${name}[^\\d]+([\\d.]+) nats$`, "m").exec(stdout)![1]),
    );
    expect(likelihood).toBeLessThan(loss!);
  });

  test("sample: the same seed draws the same rows, to a sheet, a table and an array", async () => {
    const [npy, table] = [join(folder, `${kind}.npy`), join(folder, `${kind}-samples.csv`)];
    for (const out of [npy, table]) expect((await run(["sample", model, "-n", "9", "--out", out])).code).toBe(0);
    const rows = await datasets.npy(npy);
    expect(rows).toMatchObject({ rows: 9, shape: input });
    expect((await datasets.csv(table)).data).toEqual(rows.data);
    using loaded = await load(model);
    expect(rows.data).toEqual(await loaded.sample(9, { seed: 1 }));

    const sheet = join(folder, `${kind}.png`);
    const drawn = await run(["sample", model, "-n", "9", "--out", sheet, ...(images ? [] : ["--shape", `${SIDE}x${SIDE}`])]);
    expect(drawn, drawn.stderr).toMatchObject({ code: 0, stdout: `wrote 9 samples to ${sheet}\n` });
    const { width, height, channels } = await sharp(sheet).metadata();
    expect({ square: width === height, large: width > 3 * SIDE, channels }).toEqual({ square: true, large: true, channels: 1 });
  });

  test("encode: means and deviations as the library gives them, with the classes", async () => {
    const [table, npy] = [join(folder, `${kind}-latents.csv`), join(folder, `${kind}-latents.npy`)];
    expect(await run(["encode", model, ...data, "--out", table])).toMatchObject({
      code: 0,
      stdout: `wrote ${ROWS} rows of 3 latent dimensions to ${table}\n`,
    });
    expect((await run(["encode", model, ...data, "--deviations", "--out", npy])).code).toBe(0);
    using loaded = await load(model);
    const source =
      kind === "CSV"
        ? (await datasets.csv(csv, { label: "kind" })).data
        : kind === "IDX"
          ? pixels
          : (await datasets.npz(npz, { key: "x" })).data;
    const { mean, standardDeviation } = await loaded.encode(source);
    const means = await datasets.csv(table, kind === "CSV" ? { label: "label" } : {});
    expect(means).toMatchObject({ rows: ROWS, columns: ["mean_0", "mean_1", "mean_2"] });
    expect(means.data).toEqual(mean);
    // Texts are numbered in sorted order: level 0, upright 1.
    if (kind === "CSV") expect(means.labels).toEqual(Int32Array.from(labels, (label) => 1 - label));
    const both = await datasets.npy(npy);
    expect(both.shape).toEqual([6]);
    expect(both.data.slice(6, 12)).toEqual(Float32Array.of(...mean.subarray(3, 6), ...standardDeviation.subarray(3, 6)));
  });

  test("reconstruct: rows that resemble the originals, and a sheet of pairs", async () => {
    const npy = join(folder, `${kind}-rows.npy`);
    expect((await run(["reconstruct", model, ...data, "--out", npy])).code).toBe(0);
    const { data: rows } = await datasets.npy(npy);
    const error = pixels.reduce((sum, value, index) => sum + Math.abs(rows[index]! - value / 255), 0) / pixels.length;
    const blank = pixels.reduce((sum, value) => sum + value / 255, 0) / pixels.length;
    expect(error).toBeLessThan(0.6 * blank);

    const sheet = join(folder, `${kind}-pairs.png`);
    const options = images || data.includes("--shape") ? [] : ["--shape", `${SIDE}x${SIDE}`];
    expect(await run(["reconstruct", model, ...data, ...options, "--out", sheet])).toMatchObject({
      code: 0,
      stdout: `wrote 20 reconstructions to ${sheet}\n`,
    });
    expect(existsSync(sheet)).toBe(true);
  });
});

test("a Gaussian likelihood with a learned scale where values leave [0, 1]", async () => {
  const path = join(folder, "sensors.csv");
  const rows = Array.from({ length: 100 }, (_, row) => `${Math.sin(row).toFixed(3)},${(5 + Math.cos(row)).toFixed(3)}`);
  writeFileSync(path, ["a,b", ...rows].join("\n"));
  const model = join(folder, "sensors.vae");
  const { code, stderr } = await run(["train", "--data", path, ...train, "--steps", "20", "--out", model]);
  expect(code, stderr).toBe(0);
  expect(stderr).toContain("gaussian likelihood");
  using loaded = await load(model);
  expect(loaded.config.likelihood).toMatchObject({ kind: "gaussian", scale: "learned" });
});

test("a folder of images, at the model's size when it is asked again", async () => {
  const pictures = join(folder, "pictures");
  mkdirSync(pictures);
  for (let index = 0; index < 6; index++) {
    await sharp({ create: { width: 20, height: 10, channels: 3, background: { r: 40 * index, g: 90, b: 200 } } })
      .png()
      .toFile(join(pictures, `${index}.png`));
  }
  const model = join(folder, "pictures.vae");
  const size = ["--size", "8x12", "--channels", "1"];
  expect((await run(["train", "--data", pictures, ...size, ...train, "--batch", "6", "--steps", "3", "--out", model])).code).toBe(0);
  const { code, stdout, stderr } = await run(["evaluate", model, "--data", pictures, "--json"]);
  expect(code, stderr).toBe(0);
  expect(JSON.parse(stdout).rows).toBe(6);
});

test("--resume goes on with the very same run", async () => {
  const [whole, halves] = [join(folder, "whole.vae"), join(folder, "halves.vae")];
  const data = ["--data", idx];
  expect((await run(["train", ...data, ...train, "--steps", "60", "--out", whole])).code).toBe(0);
  expect((await run(["train", ...data, ...train, "--steps", "30", "--out", halves])).code).toBe(0);
  const resumed = await run(["train", ...data, "--resume", halves, "--steps", "30", "--batch", "32", "--threads", "2"]);
  expect(resumed, resumed.stderr).toMatchObject({ code: 0 });
  expect(resumed.stderr).toContain("from step 30 on");
  expect(readFileSync(halves).equals(readFileSync(whole))).toBe(true);
});

test("the demo, one epoch of it: a test loss, three sheets and a model that comes back the same", async () => {
  const out = join(folder, "demo");
  const { code, stdout, stderr } = await run(["demo", "--quick", "--out", out]);
  expect(code, stderr).toBe(0);
  const [, loss, reconstruction, kl] = /^test loss ([\d.]+) nats per image \(reconstruction ([\d.]+) \+ KL ([\d.]+)\)$/m
    .exec(stdout)!
    .map(Number);
  expect(loss).toBeLessThan(130);
  expect(reconstruction! + kl!).toBeCloseTo(loss!, 1);
  expect(stdout).toContain("100 reconstructions are identical, bit for bit");
  for (const [name, height] of Object.entries({ samples: 582, reconstructions: 366, interpolations: 582 })) {
    expect(await sharp(join(out, `${name}.png`)).metadata()).toMatchObject({ format: "png", width: 582, height });
  }
  using digits = await load(join(out, "digits.vae"));
  expect(digits.training.step).toBe(469);
});

describe("Ctrl-C", () => {
  test("keeps the last complete step, saves, says so and exits with 130", async () => {
    const model = join(folder, "interrupted.vae");
    const { child, finished, seen } = start(["train", "--data", idx, ...train, "--steps", "100000000", "--out", model]);
    await seen(/^step \d+\/100000000 /m);
    child.kill("SIGINT");
    const { code, stderr } = await finished;
    expect(code, stderr).toBe(130);
    const step = Number(/interrupted: saved step (\d+) to .*interrupted\.vae/.exec(stderr)![1]);
    expect(step).toBeGreaterThan(0);
    using loaded = await load(model);
    expect(loaded.training).toMatchObject({ step, optimizer: { kind: "adam", learningRate: 0.01 } });
    expect((await run(["evaluate", model, "--data", idx])).code).toBe(0);
  });

  test("while data are read there is nothing to save: it ends at once and leaves a model that is there alone", async () => {
    const model = join(folder, "kept.vae");
    writeFileSync(model, "something dear");
    const large = join(folder, "large.csv");
    // Tens of megabytes: reading them takes seconds.
    writeFileSync(large, csvText().split("\n").slice(1).join("\n").concat("\n").repeat(600));
    const { child, finished, seen } = start(["train", "--data", large, "--no-header", "--label", "36", ...train, "--out", model]);
    await seen(/^reading .*large\.csv$/m);
    child.kill("SIGINT");
    expect(await finished).toMatchObject({ signal: "SIGINT", stdout: "" });
    expect(readFileSync(model, "utf8")).toBe("something dear");
  });
});
