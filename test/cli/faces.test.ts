// What the command line says: help, errors, the doctor's report, progress.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { describe, expect, test } from "vitest";
import { describeProgress, duration, ProgressDisplay } from "../../lib/cli/progress.js";
import { root, run, startNode } from "../support/cli.js";
import { temporaryFolder } from "../support/io.js";

const folder = temporaryFolder();

describe("help", () => {
  test("lists the commands", async () => {
    const { code, stdout } = await run(["--help"]);
    expect(code).toBe(0);
    for (const name of ["train", "sample", "reconstruct", "encode", "evaluate", "doctor", "demo"]) {
      expect(stdout).toMatch(new RegExp(`^  ${name} `, "m"));
    }
  });

  test.each(["train", "sample", "reconstruct", "encode", "evaluate", "doctor", "demo"])("%s: options and examples", async (name) => {
    const { code, stdout } = await run([name, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^Usage: node-vae ${name} `));
    expect(stdout).toMatch(new RegExp(`\nExamples:\n  # .*\n  \\$ .*node-vae ${name}`));
    // Whatever an option is by default, it says so; switches are off.
    if (name !== "doctor") expect(stdout).toMatch(/default:/);
  });

  test("--version", async () => {
    expect((await run(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("errors", () => {
  test("a missing file: message and hint, no stack; with --debug a stack", async () => {
    const short = await run(["train", "--data", "nowhere.csv"], { cwd: folder });
    expect(short).toMatchObject({ code: 1, stdout: "" });
    expect(short.stderr).toMatch(
      /^reading nowhere\.csv\nerror: --data: nowhere\.csv: no such file or folder\n {2}hint: the working folder is .*\n$/,
    );
    const long = await run(["train", "--data", "nowhere.csv", "--debug"], { cwd: folder });
    expect(long.code).toBe(1);
    expect(long.stderr).toMatch(/\n {4}at /);
    expect(long.stderr).toMatch(/caused by: Error: ENOENT/);
  });

  test.each([
    [["train"], /required option '-d, --data <path>' not specified/],
    [["train", "--data", "mnist", "--latnt", "3"], /unknown option '--latnt'\n\(Did you mean --latent\?\)/],
    [["train", "--data", "mnist", "--latent", "2.5"], /'2\.5' is invalid\. Expected a whole number of at least 1/],
    [["train", "--data", "mnist", "--hidden", "400,x"], /'400,x' is invalid/],
    [["train", "--data", "mnist", "--learning-rate", "-1"], /Expected a number above 0/],
    [["train", "--data", "mnist", "--channels", "2"], /Expected 1 or 3/],
    [["train", "--data", "mnist", "--activation", "reulu"], /Allowed choices are .*relu/],
    [["train", "--data", "mnist", "--steps", "3", "--epochs", "2"], /'--epochs <count>' cannot be used with option '--steps <count>'/],
    [["train", "--data", "mnist", "--resume", "a.vae", "--latent", "3"], /cannot be used with option '--latent/],
    [["tain"], /unknown command 'tain'\n\(Did you mean train\?\)/],
    [["evaluate", "--data", "mnist"], /missing required argument 'model'/],
  ])("%j", async (args, message) => {
    const { code, stderr, stdout } = await run(args, { cwd: folder });
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^error: /m);
    expect(stderr).not.toMatch(/\n {4}at /);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  });

  test("files that are not what they should be", async () => {
    writeFileSync(join(folder, "picture.bin"), Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 0, 0));
    writeFileSync(join(folder, "short.idx"), Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 9));
    writeFileSync(join(folder, "rows.csv"), "a,b\n1,0\n0,1\n0.5,oops\n");
    writeFileSync(join(folder, "good.csv"), "a,b\n1,0\n0,1\n");
    const cases: [args: string[], message: RegExp][] = [
      [["train", "--data", "picture.bin"], /picture\.bin: not a kind of file that rows can be read from/],
      [["train", "--data", "short.idx"], /short\.idx: truncated in the dimensions at byte 8/],
      [["train", "--data", "rows.csv"], /line 4, column "b": not a number.*received "oops"/],
      [["train", "--data", "good.csv", "--shape", "3x3"], /--shape: expected a shape of 2 values/],
      [
        ["train", "--data", "good.csv", "--out", "no/such/folder.vae"],
        /--out: no.such.folder\.vae: no such file or folder\n {2}hint: the folder no.such is not there/,
      ],
      [["train", "--data", "good.csv", "--device", "tpu"], /"tpu"/],
      [["sample", "good.csv"], /good\.csv/],
      [["sample", "good.csv", "--out", "sheet.jpg"], /--out: expected a file name ending in \.png, \.csv, \.npy; received sheet\.jpg/],
    ];
    for (const [args, message] of cases) {
      const { code, stderr } = await run(args, { cwd: folder });
      expect(stderr, args.join(" ")).toMatch(message);
      expect(stderr).not.toMatch(/\n {4}at |defect/);
      expect(code).toBe(1);
    }
  });

  test("rows that are no images cannot be drawn, and are not sampled first", async () => {
    writeFileSync(join(folder, "flat.csv"), "a,b,c\n1,0,1\n0,1,0\n");
    const model = join(folder, "flat.vae");
    expect(
      (await run(["train", "--data", "flat.csv", "--hidden", "none", "--latent", "1", "--steps", "2", "--out", model], { cwd: folder }))
        .code,
    ).toBe(0);
    const { code, stderr } = await run(["sample", model, "--out", "flat.png"], { cwd: folder });
    expect(code).toBe(1);
    expect(stderr).toMatch(/the rows are not images.*received \[3\]\n {2}hint: write a \.csv or \.npy file/);
  });
});

describe("doctor", () => {
  test("versions, addon, instructions, threads, and a training that works", async () => {
    const { code, stdout } = await run(["doctor"], { env: { NODE_VAE_ISA: "portable", NODE_VAE_THREADS: "1" } });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^node-vae +\d+\.\d+\.\d+$/m);
    expect(stdout).toContain(process.version);
    expect(stdout).toMatch(/^instructions +portable, chosen by NODE_VAE_ISA/m);
    expect(stdout).toMatch(/^threads +1, from NODE_VAE_THREADS$/m);
    expect(stdout).toMatch(/^self-test +a small model trained 2 steps on cpu$/m);
  });

  test("an addon that does not load: what is wrong, what repairs it, exit code 1", async () => {
    const { code, stdout } = await run(["doctor"], { env: { NODE_VAE_ADDON: join(folder, "none.node") } });
    expect(code).toBe(1);
    expect(stdout).toMatch(/none\.node: no such file/);
    expect(stdout).toMatch(/problem: addon\n {2}fix: .*npm run build:native/);
    const json = await run(["doctor", "--json"], { env: { NODE_VAE_ADDON: join(folder, "none.node") } });
    expect(json.code).toBe(1);
    expect(JSON.parse(json.stdout)).toContainEqual(expect.objectContaining({ name: "addon", status: "problem" }));
  });

  test.each([{ NODE_VAE_ISA: "sse9" }, { NODE_VAE_THREADS: "many" }])("%j is a problem", async (env) => {
    const { code, stdout } = await run(["doctor"], { env });
    expect(code).toBe(1);
    expect(stdout).toMatch(/^problem: /m);
    expect(stdout).not.toMatch(/everything works/);
  });
});

describe("progress", () => {
  const progress = {
    step: 250,
    completed: 250,
    steps: 1000,
    epoch: 3,
    epochs: 10,
    metrics: { loss: 110, elbo: -110, reconstruction: -85, kl: 25 },
    stepsPerSecond: 190.4,
    samplesPerSecond: 24371.2,
    secondsLeft: 75,
  };

  test("says epoch, metrics, rates and time left", () => {
    expect(describeProgress(progress)).toBe(
      "epoch 3/10 | elbo -110.00 | reconstruction -85.00 | kl 25.00 | 190 steps/s | 24,371 samples/s | 1 min 15 s left",
    );
    expect(describeProgress({ ...progress, metrics: { loss: 3, bound: -3 }, secondsLeft: 0, stepsPerSecond: 2.04 })).toBe(
      "epoch 3/10 | loss 3.00 | bound -3.00 | 2.0 steps/s | 24,371 samples/s",
    );
    expect(describeProgress(progress, 58)).toBe("epoch 3/10 | elbo -110.00 | 190 steps/s | 1 min 15 s left");
    expect(describeProgress(progress, 5)).toBe("elbo -110.00");
    expect([0.04, 9.96, 59.4, 200, 7500].map(duration)).toEqual(["0.0 s", "10 s", "59 s", "3 min 20 s", "2 h 5 min"]);
  });

  function stream(isTTY: boolean): { readonly written: string[]; readonly stream: NodeJS.WriteStream } {
    const written: string[] = [];
    const sink = new Writable({
      write: (chunk, _, done) => {
        written.push(String(chunk));
        done();
      },
    });
    return { written, stream: Object.assign(sink, { isTTY, columns: 160 }) as unknown as NodeJS.WriteStream };
  }

  test("a bar on a terminal", () => {
    const { written, stream: terminal } = stream(true);
    const display = new ProgressDisplay(terminal);
    display.show(progress);
    display[Symbol.dispose]();
    display[Symbol.dispose]();
    expect(written.join("")).toMatch(/█+░+ 25% \| epoch 3\/10 \| elbo -110\.00/);
  });

  test("without a terminal the last state, once", () => {
    const { written, stream: file } = stream(false);
    const display = new ProgressDisplay(file);
    for (let completed = 1; completed <= 500; completed++) display.show({ ...progress, completed });
    display[Symbol.dispose]();
    display[Symbol.dispose]();
    expect(written).toHaveLength(1);
    expect(written[0]).toMatch(/^step 500\/1000 \| epoch 3\/10 .*\n$/);
  });
});

test("a second Ctrl-C ends the program at once; the echo of the first does not", async () => {
  const program = `
    const { Interrupt } = await import(${JSON.stringify(new URL("dist/cli/interrupt.js", `file://${root}/`).href)});
    const interrupt = new Interrupt();
    setInterval(() => {}, 1000);
    interrupt.signal.addEventListener("abort", () => console.error("aborted"));
    console.error("ready");
  `;
  const { child, finished, seen } = startNode(["--input-type=module", "--eval", program]);
  await seen(/ready/);
  child.kill("SIGINT");
  await seen(/aborted/);
  child.kill("SIGINT");
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(child.exitCode).toBe(null);
  child.kill("SIGINT");
  expect((await finished).code).toBe(130);
});
