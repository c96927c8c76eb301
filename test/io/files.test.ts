// Files as programs name and write them: what stands at the path keeps everything but its contents, and what is no file to
// read is refused at once.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeEach, describe, expect, test } from "vitest";
import { writeCsv, writeNpy } from "../../lib/cli/output.js";
import { datasets, dense, load, saveImages, vae } from "../../lib/index.js";
import { checkReadable, checkWritable, openRegular, writeAtomically } from "../../lib/io/files.js";
import { loadCheckpoint, readSafetensors, saveCheckpoint, writeSafetensors } from "../../lib/io/index.js";
import { root as repository } from "../support/cli.js";
import { failure, temporaryFolder } from "../support/io.js";

const root = temporaryFolder();
const isRoot = process.getuid?.() === 0;
const NOBODY = 65_534;
let folder: string;
const at = (name: string): string => join(folder, name);
const write = (path: string, text: string): Promise<void> => writeAtomically({ operation: "save", path }, [Buffer.from(text)]);
const text = (name: string): string => readFileSync(at(name), "utf8");
const temporaryFiles = (): string[] => readdirSync(folder).filter((name) => name.endsWith(".tmp"));

beforeEach(() => {
  folder = mkdtempSync(join(root, "case-"));
  chmodSync(root, 0o755);
  chmodSync(folder, 0o755);
});

/** Runs a program with the library's writer, compiled, in a process of its own. */
function program(code: string, { limit }: { limit?: number } = {}): ChildProcess {
  const prelude = `import { writeAtomically } from ${JSON.stringify(pathToFileURL(join(repository, "dist/io/files.js")).href)};
    const write = (path, bytes) => writeAtomically({ operation: "save", path }, [bytes]);\n`;
  const args = ["--input-type=module", "-e", prelude + code];
  const stdio = ["ignore", "pipe", "pipe"] as const;
  if (limit === undefined) return spawn(process.execPath, args, { stdio: [...stdio] });
  return spawn("sh", ["-c", `ulimit -f ${limit}; exec "$0" "$@"`, process.execPath, ...args], { stdio: [...stdio] });
}

async function output(child: ChildProcess): Promise<string> {
  let all = "";
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding("utf8").on("data", (part: string) => (all += part));
  await once(child, "close");
  return all;
}

describe("links are followed and stay", () => {
  test.each<[string, (link: string) => void, string]>([
    ["relative", (link) => symlinkSync("runs/7.vae", link), "runs/7.vae"],
    ["absolute", (link) => symlinkSync(at("runs/7.vae"), link), "runs/7.vae"],
    ["dangling", (link) => symlinkSync("runs/8.vae", link), "runs/8.vae"],
    [
      "a chain",
      (link) => {
        symlinkSync("b", link);
        symlinkSync("runs/c", at("b"));
        symlinkSync("7.vae", at("runs/c"));
      },
      "runs/7.vae",
    ],
    [
      "from a linked folder upwards",
      (link) => {
        mkdirSync(at("deep/inner"), { recursive: true });
        symlinkSync("deep/inner", at("short"));
        symlinkSync("short/../up.vae", link);
      },
      "deep/up.vae",
    ],
  ])("%s", async (_, make, target) => {
    mkdirSync(at("runs"));
    writeFileSync(at("runs/7.vae"), "old");
    make(at("latest.vae"));
    const link = readlinkSync(at("latest.vae"));
    await write(at("latest.vae"), "new");
    expect(readlinkSync(at("latest.vae"))).toBe(link);
    expect(lstatSync(at(target)).isFile()).toBe(true);
    expect(text(target)).toBe("new");
    expect(text("latest.vae")).toBe("new");
  });

  test("a circle, and a link into a folder that is not there", async () => {
    symlinkSync("b", at("a"));
    symlinkSync("a", at("b"));
    expect((await failure("file", () => write(at("a"), "x"))).message).toMatch(/links lead in a circle/);
    symlinkSync("none/x", at("c"));
    expect((await failure("file", () => write(at("c"), "x"))).message).toMatch(
      /no such file or folder\n {2}hint: the folder .*none is not there/,
    );
  });

  test("through every verb that writes", async () => {
    using model = vae({ input: [4], latent: 1, encoder: [], decoder: [], likelihood: "bernoulli", device: "cpu", threads: 1 });
    const verbs: Record<string, (path: string) => Promise<void>> = {
      "m.vae": (path) => model.save(path),
      "m.png": (path) => saveImages(path, new Uint8Array(4), { shape: [2, 2, 1] }),
      "m.csv": (path) => writeCsv(path, [{ columns: ["a"], values: new Float32Array(2) }]),
      "m.npy": (path) => writeNpy(path, new Float32Array(2), [2]),
      "m.safetensors": (path) => writeSafetensors(path, { tensors: new Map(), metadata: {} }),
    };
    for (const [name, save] of Object.entries(verbs)) {
      writeFileSync(at(`real-${name}`), "x", { mode: 0o600 });
      symlinkSync(`real-${name}`, at(name));
      await save(at(name));
      expect(readlinkSync(at(name))).toBe(`real-${name}`);
      expect(statSync(at(name)).size, name).toBeGreaterThan(5);
      expect(statSync(at(name)).mode & 0o777, name).toBe(0o600);
    }
    expect(temporaryFiles()).toEqual([]);
  });
});

describe("mode and owner", () => {
  test.each([0o600, 0o640, 0o664, 0o666, 0o755])("mode %o is kept", async (mode) => {
    writeFileSync(at("m"), "old");
    chmodSync(at("m"), mode);
    await write(at("m"), "new");
    expect(statSync(at("m")).mode & 0o7777).toBe(mode);
    expect(text("m")).toBe("new");
  });

  test("a new file has what the umask leaves", async () => {
    const before = process.umask(0o027);
    try {
      await write(at("m"), "new");
    } finally {
      process.umask(before);
    }
    expect(statSync(at("m")).mode & 0o777).toBe(0o640);
  });

  test.runIf(isRoot)("root leaves a file to its owner", async () => {
    writeFileSync(at("m"), "old", { mode: 0o640 });
    chownSync(at("m"), 1234, 2345);
    await write(at("m"), "new");
    expect(statSync(at("m"))).toMatchObject({ uid: 1234, gid: 2345 });
    expect(statSync(at("m")).mode & 0o777).toBe(0o640);
  });

  test.runIf(isRoot)("others: a file of theirs in a folder that is not theirs is written in place; a protected one is not", async () => {
    writeFileSync(at("theirs"), "old and long");
    chownSync(at("theirs"), NOBODY, NOBODY);
    writeFileSync(at("protected"), "old");
    const inode = statSync(at("theirs")).ino;
    process.seteuid!(NOBODY);
    try {
      await checkWritable({ operation: "--out", path: at("theirs") });
      await write(at("theirs"), "new");
      await write(at("theirs"), "new and longer than the old");
      for (const call of [write, (path: string) => checkWritable({ operation: "--out", path })]) {
        for (const name of ["protected", "fresh"]) {
          expect((await failure("file", () => call(at(name), "new"))).message).toMatch(/permission denied/);
        }
      }
    } finally {
      process.seteuid!(0);
    }
    expect(text("theirs")).toBe("new and longer than the old");
    expect(statSync(at("theirs"))).toMatchObject({ ino: inode, uid: NOBODY });
    expect(text("protected")).toBe("old");
    expect(readdirSync(folder).sort()).toEqual(["protected", "theirs"]);
  });

  test.runIf(isRoot)("a group that cannot be kept does not become another group's permission", async () => {
    chmodSync(folder, 0o777);
    writeFileSync(at("m"), "old");
    chownSync(at("m"), NOBODY, 4321);
    chmodSync(at("m"), 0o660);
    process.seteuid!(NOBODY);
    try {
      await write(at("m"), "new");
    } finally {
      process.seteuid!(0);
    }
    expect(statSync(at("m"))).toMatchObject({ uid: NOBODY });
    expect(statSync(at("m")).mode & 0o777).toBe(0o600);
  });

  test("of a file with two names the other keeps the old contents", async () => {
    writeFileSync(at("a"), "old");
    linkSync(at("a"), at("b"));
    await write(at("a"), "new");
    expect([text("a"), text("b")]).toEqual(["new", "old"]);
  });
});

describe("what is no regular file is written straight", () => {
  test("a pipe, through a link: larger than it holds, and it stays a pipe", async () => {
    execFileSync("mkfifo", [at("pipe")]);
    symlinkSync("pipe", at("m.vae"));
    const reader = spawn("sh", ["-c", `sleep 0.2; cat < '${at("pipe")}' | wc -c`]);
    const read = output(reader);
    await write(at("m.vae"), "x".repeat(300_000));
    expect((await read).trim()).toBe("300000");
    expect(lstatSync(at("pipe")).isFIFO()).toBe(true);
    expect(lstatSync(at("m.vae")).isSymbolicLink()).toBe(true);
  });

  test("a pipe whose reader ends early is an error", async () => {
    execFileSync("mkfifo", [at("pipe")]);
    const reader = spawn("sh", ["-c", `head -c 10 < '${at("pipe")}'`]);
    const read = output(reader);
    expect((await failure("file", () => write(at("pipe"), "x".repeat(1_000_000)))).message).toMatch(/the program that read it has ended/);
    expect(await read).toBe("xxxxxxxxxx");
  });

  test.runIf(isRoot)("a device stays a device; a full one is an error", async () => {
    for (const [name, minor] of Object.entries({ null: "3", full: "7" })) execFileSync("mknod", [at(name), "c", "1", minor]);
    await write(at("null"), "x");
    expect((await failure("file", () => write(at("full"), "x"))).message).toMatch(/no space left on the device/);
    for (const name of ["null", "full"]) expect(lstatSync(at(name)).isCharacterDevice()).toBe(true);
    expect(readdirSync(folder).sort()).toEqual(["full", "null"]);
  });

  test.each(["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])("%s, a pipe or a file", async (path) => {
    const code = `await write(${JSON.stringify(path)}, Buffer.alloc(200_000, "x")); console.log("!");`;
    expect(await output(program(code))).toBe(`${"x".repeat(200_000)}!\n`);
    const child = program(`import { openSync } from "node:fs"; const fd = openSync(${JSON.stringify(at("out"))}, "w");
      await write(\`/dev/fd/\${fd}\`, Buffer.from("one ")); await write(\`/dev/fd/\${fd}\`, Buffer.from("two"));`);
    expect(await output(child)).toBe("");
    expect(text("out")).toBe("one two");
  });

  test("a folder and a socket are refused", async () => {
    mkdirSync(at("models"));
    for (const path of [folder, at("models"), at("models/"), at("new/"), `${at("models")}/.`, "/", "."]) {
      expect((await failure("file", () => write(path, "x"))).message).toMatch(/is a folder, not a file/);
    }
    expect(existsSync(at("new"))).toBe(false);
    const server = createServer().listen(at("socket"));
    await once(server, "listening");
    expect((await failure("file", () => write(at("socket"), "x"))).message).toMatch(/socket: no program or device is at the other end/);
    server.close();
  });
});

describe("a save that does not come to its end", () => {
  test("is cleared up by the next one to the same path, not by others, and not while its program lives", async () => {
    writeFileSync(at("m"), "old");
    const slow = `import { setTimeout } from "node:timers/promises"; import { readdirSync } from "node:fs";
      write(${JSON.stringify(at("m"))}, Buffer.alloc(400_000_000));
      while (!readdirSync(${JSON.stringify(folder)}).some((name) => name.endsWith(".tmp"))) await setTimeout(1);
      process.kill(process.pid, "SIGSTOP");`;
    const child = program(slow);
    const ended = once(child, "close");
    while (!/\) T /.test(readFileSync(`/proc/${child.pid}/stat`, "utf8"))) await new Promise((resolve) => setTimeout(resolve, 10));
    const [left] = temporaryFiles();
    expect(left).toMatch(/^\.m\..*\.tmp$/);
    await write(at("m"), "while it lives");
    expect(temporaryFiles()).toEqual([left]);
    child.kill("SIGKILL");
    await ended;
    await write(at("mm"), "another");
    expect(temporaryFiles()).toEqual([left]);
    await write(at("m"), "new");
    expect(temporaryFiles()).toEqual([]);
    expect(text("m")).toBe("new");
  });

  test("of another machine is left alone for a day", async () => {
    const left = [".m.0123abcd-1-0123456789ab.tmp", ".m.0123456789ab.tmp"];
    for (const name of left) writeFileSync(at(name), "");
    writeFileSync(at(".m.notes.tmp"), "mine");
    await write(at("m"), "new");
    expect(temporaryFiles().sort()).toEqual([".m.notes.tmp", ...left].sort());
    const old = Date.now() / 1000 - 90_000;
    for (const name of temporaryFiles()) utimesSync(at(name), old, old);
    await write(at("m"), "new");
    expect(temporaryFiles()).toEqual([".m.notes.tmp"]);
  });

  test("for want of room leaves the old file and nothing else, also in place", async () => {
    writeFileSync(at("m"), "old");
    const code = `const path = ${JSON.stringify(at("m"))};
      await write(path, Buffer.alloc(1_000_000)).catch((error) => console.log(error.code, error.message));`;
    expect(await output(program(code, { limit: 100 }))).toMatch(/^file save: .*m: larger than a file may be here\n/);
    expect(readdirSync(folder)).toEqual(["m"]);
    expect(text("m")).toBe("old");
    if (!isRoot) return;
    chownSync(at("m"), NOBODY, NOBODY);
    expect(await output(program(`process.seteuid(${NOBODY});${code}`, { limit: 100 }))).toMatch(/^file save: .*larger than a file may be/);
    expect(text("m")).toBe("old");
  });
});

describe("several saves at a time", () => {
  test("in one process: the last call wins", async () => {
    symlinkSync("m", at("link"));
    const sizes = [3_000_000, 10, 2_000_000, 1];
    await Promise.all(sizes.map((size, index) => write(at("m"), String(index).repeat(size))));
    expect(text("m")).toBe("3");
    await Promise.all([write(at("m"), "a".repeat(2_000_000)), write(at("link"), "b".repeat(2_000_000))]);
    expect(new Set(text("m")).size).toBe(1);
    expect(temporaryFiles()).toEqual([]);
  });

  test("in three processes: every reader sees a whole file, none fails, nothing is left", async () => {
    const code = (letter: string) =>
      `for (let i = 0; i < 40; i++) await write(${JSON.stringify(at("m"))}, Buffer.alloc(100_000 + i, "${letter}"));`;
    let running = true;
    const all = Promise.all(["a", "b", "c"].map((letter) => output(program(code(letter))))).finally(() => {
      running = false;
    });
    let seen = 0;
    while (running) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (!existsSync(at("m"))) continue;
      const contents = text("m");
      expect(contents.length).toBeGreaterThanOrEqual(100_000);
      expect(contents).toBe(contents[0]!.repeat(contents.length));
      seen++;
    }
    expect(await all).toEqual(["", "", ""]);
    expect(seen).toBeGreaterThan(3);
    expect(text("m").length).toBe(100_039);
    expect(readdirSync(folder)).toEqual(["m"]);
  });
});

test("a name as long as the file system allows", async () => {
  const name = `${"ü".repeat(125)}.vae`;
  await write(at(name), "old");
  await write(at(name), "new");
  expect(readdirSync(folder)).toEqual([name]);
  const error = await failure("file", () => write(at("x".repeat(5000)), "x"));
  expect(error.message).toMatch(/a name of the path is too long/);
  expect(error.message.length).toBeLessThan(500);
});

describe("paths may be file: URLs", () => {
  test("in every verb", async () => {
    const url = (name: string): URL => new URL(encodeURIComponent(name), pathToFileURL(`${folder}/`));
    using model = vae({ input: [4], latent: 1, encoder: [dense(2)], decoder: [dense(2)], likelihood: "bernoulli", device: "cpu" });
    await model.save(url("a ü#%?.vae"));
    (await load(url("a ü#%?.vae"))).dispose();
    await writeNpy(at("x.npy"), Float32Array.of(1, 2), [2, 1]);
    expect((await datasets.npy(url("x.npy"))).name).toBe(at("x.npy"));
    writeFileSync(at("x.csv"), "a\n1\n");
    expect((await datasets.csv(url("x.csv"))).name).toBe(at("x.csv"));
    const idx = (name: string, rank: number, ...bytes: number[]) => writeFileSync(at(name), Uint8Array.of(0, 0, 8, rank, ...bytes));
    idx("x.idx", 2, 0, 0, 0, 1, 0, 0, 0, 2, 7, 8);
    idx("y.idx", 1, 0, 0, 0, 1, 5);
    expect(await datasets.idx(url("x.idx"), { labels: url("y.idx") })).toMatchObject({ labels: Int32Array.of(5), name: at("x.idx") });
    mkdirSync(at("pictures #1"));
    await saveImages(new URL("pictures%20%231/x.png", pathToFileURL(`${folder}/`)), new Uint8Array(4), {
      shape: [2, 2, 1],
      scale: 1,
      gap: 0,
    });
    expect(await datasets.images(url("pictures #1"), { size: [2, 2], channels: 1 })).toMatchObject({ rows: 1, name: at("pictures #1") });
    await saveCheckpoint(url("c.vae"), { config: 1, tensors: new Map() });
    expect((await loadCheckpoint(url("c.vae"))).config).toBe(1);
    expect((await readSafetensors(url("c.vae"))).tensors.size).toBe(0);
  });

  test.each<[unknown, RegExp]>([
    [new URL("http://example.org/m.vae"), /received "http:.*\n.*hint: download it first/],
    [new URL("data:text/plain,1"), /expected the path of a file; received "data:.*\n.*hint: of URLs only those of files/],
    [new URL("file://server/m.vae"), /\n.*hint: a file URL has no host/],
    [new URL("file:///a%2Fb"), /\n.*hint: a \/ inside a name cannot be escaped/],
    ["", /received ""/],
    [Buffer.from("m.vae"), /received a Buffer/],
    [7, /received 7/],
    [undefined, /received undefined/],
    [{ href: "file:///m.vae" }, /received \{/],
  ])("%s is none", async (path, message) => {
    for (const call of [load, datasets.csv, datasets.idx, datasets.npy, datasets.npz] as ((path: never) => Promise<unknown>)[]) {
      expect((await failure("argument", () => call(path as never))).message).toMatch(message);
    }
    await failure("argument", () => datasets.images(path as never, { size: [1, 1] }));
    await failure("argument", () => saveImages(path as never, new Uint8Array(1), { shape: [1, 1, 1] }));
    using model = vae({ input: [1], latent: 1, encoder: [], decoder: [], likelihood: "bernoulli", device: "cpu", threads: 1 });
    await failure("argument", () => model.save(path as never));
  });

  test("an address as a text says what to do", async () => {
    expect((await failure("file", () => load("file:///m.vae"))).message).toMatch(
      /hint: a text is taken as a path; for a URL pass new URL\(text\)/,
    );
    for (const path of ["a\0b", new URL("file:///a%00b")]) {
      expect((await failure("file", () => load(path))).message).toMatch(/a\ufffdb: a path with a NUL character/);
    }
    expect((await failure("file", () => load("https://example.org/m.vae"))).message).toMatch(/hint: this is no path; download it first/);
  });
});

describe("only regular files are read", () => {
  const readers: Record<string, (path: string) => Promise<unknown>> = {
    load,
    idx: datasets.idx,
    npy: datasets.npy,
    npz: datasets.npz,
    openRegular: (path) => openRegular({ operation: "open", path }),
    checkReadable: (path) => checkReadable({ operation: "check", path }),
  };

  test.each(Object.entries(readers))("%s refuses pipes, devices, sockets and folders at once", async (_, read) => {
    execFileSync("mkfifo", [at("pipe")]);
    const cases = {
      [at("pipe")]: /is a pipe, not a regular/,
      "/dev/zero": /is a device, not/,
      [folder]: /is a folder/,
      [at("none")]: /no such/,
    };
    for (const [path, message] of Object.entries(cases)) expect((await failure("file", () => read(path))).message).toMatch(message);
    symlinkSync("loop", at("loop"));
    expect((await failure("file", () => read(at("loop")))).message).toMatch(/circle/);
    expect((await failure("file", () => read(at("x".repeat(300))))).message).toMatch(/too long/);
  });

  test("a file that claims to be larger than memory is not asked for", async () => {
    writeFileSync(at("holes.npy"), "");
    truncateSync(at("holes.npy"), 2 ** 43);
    expect((await failure("memory", () => datasets.npy(at("holes.npy")))).message).toMatch(
      /needs .* of the file's bytes; .* are available/,
    );
  });
});
