// How commands end: whatever ends a training, what was learned is saved; what cannot be written is refused before the work.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { checkOutput } from "../../lib/cli/output-check.js";
import { load, vae } from "../../lib/index.js";
import { main, type Running, run, start } from "../support/cli.js";
import { failure, temporaryFolder } from "../support/io.js";

const root = temporaryFolder();
const data = join(root, "d.csv");
const model = join(root, "model.vae");
const small = ["--latent", "1", "--hidden", "4", "--threads", "1"];
const endless = ["train", "--data", data, ...small, "--steps", "100000000"];
let folder: string;
const at = (name: string): string => join(folder, name);

beforeAll(async () => {
  writeFileSync(data, "a,b\n1,2\n2,3\n3,5\n");
  using made = vae({ input: [4], latent: 1, encoder: [], decoder: [], likelihood: "bernoulli", device: "cpu", threads: 1 });
  await made.save(model);
});
beforeEach(() => {
  folder = mkdtempSync(join(root, "case-"));
});

async function steps(path: string): Promise<number> {
  using loaded = await load(path, { device: "cpu", threads: 1 });
  return loaded.training.step;
}

/** A training that has made steps. */
async function training(out: string, { cwd, preload }: { cwd?: string; preload?: string } = {}): Promise<Running> {
  const env = preload === undefined ? {} : { NODE_OPTIONS: `--import ${pathToFileURL(preload).href}` };
  const running = start([...endless, "--out", out], { cwd: cwd ?? folder, env });
  await running.seen(/^step \d+\/100000000 /m);
  return running;
}

describe("a training saves the last complete step and exits with 128 + n", () => {
  test.each([
    ["SIGTERM", 143],
    ["SIGHUP", 129],
    ["SIGUSR2", 140],
    ["SIGXCPU", 152],
  ] as const)("%s", async (signal, exitCode) => {
    const { child, finished } = await training("m.vae");
    child.kill(signal);
    const { code, stderr } = await finished;
    expect(code, stderr).toBe(exitCode);
    expect(await steps(at("m.vae"))).toBe(Number(new RegExp(`${signal}: saved step (\\d+) to m\\.vae`).exec(stderr)![1]));
  });

  test("two signals of one ending are one", async () => {
    const { child, finished } = await training("m.vae");
    child.kill("SIGTERM");
    child.kill("SIGHUP");
    expect([129, 143]).toContain((await finished).code); // both may be waiting, and then the system chooses
    expect(await steps(at("m.vae"))).toBeGreaterThan(0);
  });

  test("a closed standard error: told on standard output", async () => {
    const { child, finished } = await training("m.vae");
    child.stderr!.destroy();
    const { code, stdout } = await finished;
    expect(code).toBe(141);
    expect(stdout).toMatch(/^standard error was closed: saved step \d+ to m\.vae\n$/);
    expect(await steps(at("m.vae"))).toBeGreaterThan(0);
  });

  test("| head -1, of both outputs", async () => {
    const { stdout } = spawnSync("sh", ["-c", '"$0" "$@" 2>&1 | head -1', process.execPath, main, ...endless, "--out", "m.vae"], {
      cwd: folder,
      encoding: "utf8",
      timeout: 30_000,
    });
    expect(stdout).toMatch(/^reading .*d\.csv\n$/);
    expect(await steps(at("m.vae"))).toBeGreaterThan(0);
  });

  test("a lost terminal", async () => {
    const command = [process.execPath, main, ...endless, "--out", "m.vae"].map((word) => `'${word}'`).join(" ");
    const python = `import pty, os, sys, time
pid, terminal = pty.fork()
if pid == 0: os.execvp("sh", ["sh", "-c", "exec " + sys.argv[1]])
text = b""
while b"steps/s" not in text: text += os.read(terminal, 4096)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`;
    const child = spawn("python3", ["-c", python, command], { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
    let printed = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      printed += text;
    });
    await once(child, "close");
    expect(printed.trim()).toBe("-1"); // of SIGHUP itself: a shell calls that 129
    expect(await steps(at("m.vae"))).toBeGreaterThan(0);
  });

  test.each([
    ["thrown", 'throw new Error("from outside")'],
    ["rejected", 'Promise.reject(new Error("from outside"))'],
  ])("an error that nobody caught, %s: exit code 1 and the error", async (_, statement) => {
    const preload = at("preload.mjs");
    const begun = 'process.listenerCount("SIGTERM") > 0';
    writeFileSync(
      preload,
      `const timer = setInterval(() => { if (${begun}) { clearInterval(timer); setTimeout(() => { ${statement}; }, 2500); } }, 20);`,
    );
    const { finished } = await training("m.vae", { preload });
    const { code, stderr } = await finished;
    expect(code).toBe(1);
    expect(stderr).toMatch(/saved step \d+ to m\.vae\nerror: Error: from outside\n {4}at /);
    expect(await steps(at("m.vae"))).toBeGreaterThan(0);
  });
});

describe("a model that cannot be saved where it should", () => {
  test("is saved to the working folder, and the message says so", async () => {
    mkdirSync(at("models"));
    const { child, finished } = await training("models/m.vae");
    rmSync(at("models"), { recursive: true });
    child.kill("SIGINT");
    const { code, stderr } = await finished;
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /error: save: models\/m\.vae: no such file or folder\n {2}hint: the trained model was saved to .*m-rescued-.*\.vae instead\n$/,
    );
    const [name] = readdirSync(folder);
    expect(await steps(at(name!))).toBeGreaterThan(0);
  });

  test("or to the temporary folder", async () => {
    for (const name of ["work", "temporary"]) mkdirSync(at(name));
    const running = start([...endless, "--out", "m.vae"], { cwd: at("work"), env: { TMPDIR: at("temporary") } });
    await running.seen(/^step \d+\/100000000 /m);
    rmSync(at("work"), { recursive: true });
    running.child.kill("SIGTERM");
    const { code, stderr } = await running.finished;
    expect(code).toBe(1);
    expect(stderr).toMatch(/hint: the trained model was saved to .*temporary.m-rescued-.*\.vae instead\n$/);
    expect(await steps(join(at("temporary"), readdirSync(at("temporary"))[0]!))).toBeGreaterThan(0);
  });
});

describe("Ctrl-C is answered within two seconds, and the second one ends at once", () => {
  test.each([
    ["while a large step is made", 4000],
    ["while a large model is compiled", 100],
  ])("%s", async (_, delay) => {
    const images = at("c-idx4-ubyte");
    const header = [0x804, 64, 64, 64, 3].flatMap((word) => [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255]);
    writeFileSync(images, Buffer.concat([Uint8Array.from(header), Buffer.alloc(64 * 64 * 64 * 3, "pixels")]));
    const { child, finished, seen } = start([
      "train",
      "--data",
      images,
      "--preset",
      "image64",
      "--batch",
      "2048",
      "--steps",
      "50",
      "--out",
      at("m.vae"),
    ]);
    await seen(/^total +[\d,]+/m);
    await new Promise((resolve) => setTimeout(resolve, delay));
    const first = performance.now();
    child.kill("SIGINT");
    await seen(/^(SIGINT: the last complete step will be saved|interrupted: )/m);
    expect(performance.now() - first).toBeLessThan(2000);
    await new Promise((resolve) => setTimeout(resolve, 250));
    const second = performance.now();
    child.kill("SIGINT");
    const { code, signal, stderr } = await finished;
    expect(performance.now() - second).toBeLessThan(2000);
    // The second may come when the program has already ended its work: then the signal itself ends it.
    expect(signal === "SIGINT" ? 130 : code, stderr).toBe(130);
    expect(stderr).not.toMatch(/error|defect/);
  });
});

describe("outputs are checked before the work", () => {
  const check = (out: string, inputs: Record<string, string> = {}) =>
    checkOutput(
      out,
      Object.entries(inputs).map(([name, path]) => ({ name, path })),
      "model.vae",
    );

  test("folders, missing folders, names that are too long, links in a circle", async () => {
    mkdirSync(at("models"));
    symlinkSync("loop", at("loop"));
    writeFileSync(at("file"), "");
    const cases: [string, RegExp][] = [
      [at("models"), /^--out: .*models: is a folder, not a file\n {2}hint: name a file in it: --out .*models.model\.vae$/],
      [`${at("models")}/`, /is a folder.*\n.*models.model\.vae$/],
      [`${at("none")}/`, /is a folder/],
      [at("none/m.vae"), /no such file or folder\n {2}hint: the folder .*none is not there; make it first/],
      [at("file/m.vae"), /a part of the path is a file, not a folder/],
      [at("x".repeat(300)), /a name of the path is too long/],
      [at("loop"), /links lead in a circle/],
    ];
    for (const [out, message] of cases) expect((await failure("file", () => check(out))).message).toMatch(message);
    await failure("argument", () => check(""));
    expect(readdirSync(folder).sort()).toEqual(["file", "loop", "models"]);
    await check(at("new.vae"));
    await check(at("file"));
    await check("/dev/null", { "--data": "/dev/null" });
    expect(readdirSync(folder).sort()).toEqual(["file", "loop", "models"]);
  });

  test("a file that is read, by whatever path", async () => {
    writeFileSync(at("rows.csv"), "a\n1\n");
    symlinkSync("rows.csv", at("link.csv"));
    linkSync(at("rows.csv"), at("hard.csv"));
    symlinkSync(".", at("here"));
    for (const out of ["rows.csv", "./rows.csv", "link.csv", "hard.csv", "here/rows.csv"]) {
      const error = await failure("argument", () => check(at(out), { "the model": model, "--data": at("rows.csv") }));
      expect(error.message).toMatch(/^--out: .* is the file of --data: it would be overwritten\n {2}hint: write to another file$/);
    }
    await failure("argument", () => check(at("rows.csv"), { "--data": at("link.csv") }));
    await check(at("other.csv"), { "--data": at("rows.csv"), "the model": at("none") });
  });

  test("a folder of images gets no new images", async () => {
    mkdirSync(at("pictures/cats"), { recursive: true });
    symlinkSync("pictures", at("linked"));
    for (const out of ["pictures/a.png", "linked/cats/b.png"]) {
      expect((await failure("argument", () => check(at(out), { "--data": at("linked") }))).message).toMatch(
        /would be one of the images of --data/,
      );
    }
    await check(at("pictures/m.vae"), { "--data": at("pictures") });
    await check(at("a.png"), { "--data": at("pictures") });
  });

  test("by every command, which then has read and written nothing", async () => {
    writeFileSync(at("m.csv"), readFileSync(model));
    symlinkSync(data, at("data.csv"));
    mkdirSync(at("samples.png"));
    const cases: [string[], RegExp][] = [
      [["train", "--data", data, "--out", "."], /is a folder/],
      [["train", "--data", data, "--out", "data.csv"], /is the file of --data/],
      [["sample", "m.csv", "--out", "m.csv"], /is the file of the model/],
      [["sample", "m.csv"], /samples\.png: is a folder/],
      [["sample", model, "--out", "x.csv", "--shape", "3x3"], /--shape: expected a shape of 4 values.*received \[3, 3\], 9 values/],
      [["encode", "m.csv", "--data", data, "--out", "m.csv"], /is the file of the model/],
      [["encode", "m.csv", "--data", data, "--out", "data.csv"], /is the file of --data/],
      [["reconstruct", "m.csv", "--data", data, "--out", "data.csv"], /is the file of --data/],
      [["reconstruct", "m.csv", "--data", data, "--out", "none/x.npy"], /none is not there/],
      [["demo", "--out", "m.csv"], /m\.csv: there is already something of this name/],
      [["demo", "--out", "."], /samples\.png: is a folder/],
    ];
    const before = readFileSync(data, "utf8");
    await Promise.all(
      cases.map(async ([args, message]) => {
        const { code, stderr, stdout } = await run(args, { cwd: folder });
        expect(stderr, args.join(" ")).toMatch(message);
        expect(stderr).not.toMatch(/\n {4}at |defect|^reading/m);
        expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      }),
    );
    expect(readFileSync(data, "utf8")).toBe(before);
    expect(readFileSync(at("m.csv"))).toEqual(readFileSync(model));
  });
});

test("data that would be waited for or read for ever are refused", async () => {
  execFileSync("mkfifo", [at("pipe.csv")]);
  for (const [path, what] of Object.entries({ "pipe.csv": "a pipe", "/dev/zero": "a device" })) {
    const { code, stderr } = await run(["train", "--data", path], { cwd: folder });
    expect(stderr).toMatch(new RegExp(`error: --data: ${path}: is ${what}, not a regular file\\n {2}hint: write what it gives to a file`));
    expect(code).toBe(1);
  }
});

describe("standard output", () => {
  test("may be the model: what is told goes to standard error", async () => {
    const out = at("out.vae");
    const args = [main, "train", "--data", data, ...small, "--steps", "5", "--out", "/dev/stdout"];
    const { status, stderr } = spawnSync("sh", ["-c", `"$0" "$@" > '${out}'`, process.execPath, ...args], { encoding: "utf8" });
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(/^trained 5 steps .* saved \/dev\/stdout$/m);
    expect(await steps(out)).toBe(5);
    const piped = at("piped.vae");
    spawnSync("sh", ["-c", `"$0" "$@" | cat > '${piped}'`, process.execPath, ...args], { encoding: "utf8" });
    expect(readFileSync(piped)).toEqual(readFileSync(out));
  });

  test("that is full is an error in words", () => {
    const args = ["-c", '"$0" "$@" > /dev/full', process.execPath, main, "doctor"];
    const { status, stderr } = spawnSync("sh", args, { encoding: "utf8" });
    expect(stderr).toBe("error: write: standard output: no space left on the device\n");
    expect(status).toBe(1);
  });

  test("that is closed loses no model", async () => {
    const args = [main, "train", "--data", data, ...small, "--steps", "5", "--out", "m.vae"];
    spawnSync("sh", ["-c", '"$0" "$@" | true', process.execPath, ...args], { cwd: folder });
    expect(existsSync(at("m.vae"))).toBe(true);
    expect(await steps(at("m.vae"))).toBe(5);
  });
});
