// Programs under Jest, vitest's vm pools and node:vm hand over arrays, options and signals of globals that are not ours.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { adam, dense, vae } from "../../lib/index.js";
import { matmul } from "../../lib/ops/index.js";
import { failure } from "../support/failure.js";

const model = () =>
  vae({ input: [8], latent: 2, encoder: [dense(8)], decoder: [dense(8)], likelihood: "gaussian", device: "cpu", threads: 1 });

test("arrays, options, maps and signals of another realm are taken", async () => {
  const theirs = runInNewContext(
    `({ rows: Float32Array.from({ length: 80 }, (_, i) => Math.sin(i)), options: { steps: 3, batchSize: 4 }, list: [[1,2,3,4,5,6,7,8]],
      latents: Float32Array.of(1, 2), matrix: { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
      entries: (list) => new Map(list.map(([name, { data, shape }]) => [name, { data: Float32Array.from(data), shape: [...shape] }])) })`,
  );
  using m = model();
  await m.fit(theirs.rows, { ...theirs.options, signal: new AbortController().signal });
  await m.fit(theirs.rows, theirs.options);
  expect((await m.encode(theirs.rows)).mean).toHaveLength(20);
  expect(await m.encode(theirs.list)).toBeDefined();
  expect(await m.decode(theirs.latents)).toHaveLength(8);
  expect(await m.score(theirs.rows)).toHaveLength(10);
  await m.setParameters(theirs.entries([...(await m.parameters())]));
  expect((await matmul(theirs.matrix, theirs.matrix)).data).toHaveLength(4);
});

test("what is no plain object is no options, whatever it is", () => {
  class Options {
    learningRate = 0.5;
  }
  for (const options of [new Options(), new Map([["learningRate", 0.5]]), [0.5], new Date(), Float32Array.of(1)]) {
    expect(failure(() => vae(options as never))).toMatchObject({ code: "argument" });
  }
  expect(adam(Object.assign(Object.create(null), { learningRate: 0.5 }))).toMatchObject({ learningRate: 0.5 });
});

test("the library runs as a module of another realm", () => {
  // A child, because vm modules need a flag; what the library imports from Node comes from the outer realm.
  const code = `
    import vm from "node:vm"; import { readFileSync } from "node:fs"; import { fileURLToPath } from "node:url";
    const context = vm.createContext({ setTimeout, clearTimeout, setImmediate, AbortController, AbortSignal, process, URL, TextDecoder, TextEncoder, performance, console, structuredClone, Buffer });
    const cache = new Map();
    const link = async (specifier, from) => {
      if (!specifier.startsWith(".")) return outer(specifier);
      return inner(new URL(specifier, from.identifier).href);
    };
    const outer = async (specifier) => {
      const exports = await import(specifier.startsWith("node:") ? specifier : import.meta.resolve(specifier));
      const module = new vm.SyntheticModule(Object.keys(exports), function () { for (const [k, v] of Object.entries(exports)) this.setExport(k, v); }, { context });
      await module.link(() => {}); await module.evaluate(); return module;
    };
    const inner = (href) => {
      if (!cache.has(href)) cache.set(href, new vm.SourceTextModule(readFileSync(fileURLToPath(href), "utf8"), { context, identifier: href, initializeImportMeta: (meta) => { meta.url = href; } }));
      return cache.get(href);
    };
    const index = inner(process.env.LIBRARY); await index.link(link); await index.evaluate();
    context.lib = index.namespace;
    console.log(await vm.runInContext(\`(async () => {
      const m = lib.vae({ input: [8], latent: 2, encoder: [lib.dense(8)], decoder: [lib.dense(8)], likelihood: "gaussian", device: "cpu", threads: 1 });
      const rows = Float32Array.from({ length: 80 }, (_, i) => Math.sin(i));
      await m.fit(rows, { steps: 3, batchSize: 4 });
      const wrong = await m.fit(rows, { device: "cpu" }).then(() => "no error", (error) => error.code);
      const large = await m.sample(2 ** 40).then(() => "no error", (error) => error.constructor === lib.VaeError);
      return JSON.stringify([(await m.sample(2)).length, (await m.score(rows)).length, (await m.reconstruct(rows)).length, wrong, large]);
    })()\`, context));`;
  const library = new URL("../../dist/index.js", import.meta.url).href;
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ["--experimental-vm-modules", "--no-warnings", "--input-type=module", "-e", code],
    {
      encoding: "utf8",
      env: { ...process.env, LIBRARY: library },
    },
  );
  expect(stdout, stderr).toBe('[16,10,80,"argument",true]\n');
});

test("no file of the library asks a built-in class whether something is its instance", () => {
  const root = new URL("../../lib/", import.meta.url);
  const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const own = /instanceof (VaeError|[A-Z]\w*Error\b(?<!\bError))/;
  const found = files.flatMap((name) =>
    readFileSync(new URL(name, root), "utf8")
      .split("\n")
      .filter((line) => /\binstanceof\b/.test(line) && !/^\s*(\/\/|\*|\/\*)/.test(line) && !own.test(line) && !name.startsWith("cli/"))
      .map((line) => `${name}: ${line.trim()}`),
  );
  expect(found).toEqual([]);
});
