// The package as others' tools see it: bundlers, type checkers of other settings, an old Node.
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build as esbuild } from "esbuild";
import { zipSync } from "fflate";
import { afterAll, describe, expect, test } from "vitest";
import { checkNodeVersion, OLDEST_NODE } from "../../lib/node-version.js";
import { addonPath } from "../../lib/runtime/native.js";
import { failure } from "../support/failure.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const scratch = mkdtempSync(join(tmpdir(), "node-vae-package-"));
afterAll(() => rmSync(scratch, { recursive: true }));

function folder(name: string): string {
  const path = join(scratch, name);
  mkdirSync(path, { recursive: true });
  return path;
}

describe("bundled programs", () => {
  const program = `
    import { vae, dense, VaeError } from "node-vae";
    try {
      const model = vae({ input: [4], latent: 1, encoder: [dense(4)], decoder: [dense(4)], likelihood: "gaussian", device: "cpu", threads: 1 });
      model.sample(2).then((rows) => console.log("sampled " + rows.length));
    } catch (error) { console.log(error instanceof VaeError ? error.code + " | " + error.hint : error); }`;

  /** Bundles the program with the library inside; `home` gets the bundle and nothing else. */
  async function bundle(format: "cjs" | "esm", home: string, text = program, external: string[] = []): Promise<string> {
    const from = folder(`sources-${format}`);
    mkdirSync(join(from, "node_modules"), { recursive: true });
    if (!existsSync(join(from, "node_modules/node-vae"))) symlinkSync(root, join(from, "node_modules/node-vae"));
    writeFileSync(join(from, "program.mjs"), text);
    const outfile = join(home, format === "cjs" ? "bundle.cjs" : "bundle.mjs");
    const options = {
      bundle: true,
      platform: "node",
      format,
      outfile,
      logLevel: "error",
      external: ["sharp", ...external],
    } satisfies BuildOptions;
    await esbuild({ ...options, entryPoints: [join(from, "program.mjs")] });
    return outfile;
  }

  const run = (file: string, environment: NodeJS.ProcessEnv = {}): string =>
    execFileSync(process.execPath, [file], { cwd: dirname(file), encoding: "utf8", env: { ...process.env, ...environment } }).trim();

  for (const format of ["cjs", "esm"] as const) {
    test(`${format}: alone, they say what a bundler must be told`, async () => {
      const said = run(await bundle(format, folder(`alone-${format}`)));
      expect(said).toMatch(/^native \| .*bundled.*external/);
    });

    test(`${format}: they find the addon of an installed package, beside the bundle, and by its name`, async () => {
      const home = folder(`installed-${format}`);
      const file = await bundle(format, home);
      expect(run(file, { NODE_VAE_ADDON: addonPath() })).toBe("sampled 8");
      mkdirSync(join(home, "node_modules"), { recursive: true });
      symlinkSync(root, join(home, "node_modules/node-vae"));
      expect(run(file)).toBe("sampled 8");
      rmSync(join(home, "node_modules"), { recursive: true });
      cpSync(addonPath(), join(home, "node_vae.node"));
      expect(run(file)).toBe("sampled 8");
    });
  }

  test("they read NPZ archives; as an ES module with yauzl beside the bundle", async () => {
    const home = folder("npz");
    const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }";
    const array = Buffer.concat([
      Buffer.from(`\x93NUMPY\x01\x00${String.fromCharCode(header.length)}\x00${header}`, "latin1"),
      Buffer.alloc(8),
    ]);
    writeFileSync(join(home, "rows.npz"), zipSync({ "x.npy": array }));
    const reads = `
      import { datasets } from "node-vae";
      datasets.npz("rows.npz").then(({ rows, shape }) => console.log(rows + " x " + shape), ({ code, hint }) => console.log(code + " | " + hint));`;
    expect(run(await bundle("cjs", home, reads))).toBe("1 x 2");
    expect(run(await bundle("esm", home, reads))).toMatch(/^file \| .*external: \["yauzl"\]/);
    mkdirSync(join(home, "node_modules"), { recursive: true });
    for (const name of ["yauzl", "pend"]) symlinkSync(join(root, "node_modules", name), join(home, "node_modules", name));
    expect(run(await bundle("esm", home, reads, ["yauzl"]))).toBe("1 x 2");
  });
});

describe("types", () => {
  const program = `
    import { adam, datasets, dense, load, vae, VaeError } from "node-vae";
    import { add, input } from "node-vae/graph";
    import { matmul } from "node-vae/ops";
    export const model = vae({ input: [4], latent: 1, encoder: [dense(4)], decoder: [dense(4)], likelihood: "gaussian" });
    export const trained = async (): Promise<number> => (await model.fit(new Float32Array(4), { optimizer: adam() })).steps;
    export const scores = async (): Promise<Float32Array> => model.score((await datasets.csv("x.csv", { label: "state" })).data);
    export const sum = add(input("x", [2]), 1);
    export { datasets, load, matmul, VaeError };`;

  test("check without @types/node, the DOM, or a package of ours", () => {
    const home = folder("types");
    const installed = join(home, "node_modules/node-vae");
    mkdirSync(installed, { recursive: true });
    cpSync(join(root, "dist"), join(installed, "dist"), { recursive: true });
    cpSync(join(root, "package.json"), join(installed, "package.json"));
    writeFileSync(join(home, "program.mts"), program);
    const compilerOptions = { target: "es2022", lib: ["es2022"], types: [], strict: true, skipLibCheck: false, noEmit: true };
    for (const resolution of [
      { module: "nodenext", moduleResolution: "nodenext" },
      { module: "esnext", moduleResolution: "bundler" },
    ]) {
      writeFileSync(
        join(home, "tsconfig.json"),
        JSON.stringify({ compilerOptions: { ...compilerOptions, ...resolution }, files: ["program.mts"] }),
      );
      const { stdout } = spawnSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", home], { encoding: "utf8" });
      expect(stdout).toBe("");
    }
  });

  test("every entry has types for the resolutions before `exports`", () => {
    const named = (path: string) => expect(existsSync(join(root, path)), path).toBe(true);
    named(manifest.main);
    named(manifest.types);
    for (const [entry, target] of Object.entries<{ readonly types: string; readonly default: string }>(manifest.exports)) {
      if (entry.endsWith(".json")) continue;
      named(target.types);
      named(target.default);
      if (entry !== ".") expect(manifest.typesVersions["*"][entry.slice(2)]).toEqual([target.types]);
    }
  });

  test("every type that a public signature mentions can be imported", () => {
    for (const entry of ["index", "graph/index", "ops/index"]) expect(unexportedTypes(`dist/${entry}.d.ts`)).toEqual([]);
  });
});

/** `A of B`: types that an export's declaration names, that are ours, and that the entry does not export. */
function unexportedTypes(entry: string): string[] {
  const text = readFileSync(join(root, entry), "utf8");
  const exported = new Map<string, string>(); // name -> file
  for (const [, names, from] of text.matchAll(/export (?:type )?\{([^}]*)\} from "([^"]+)"/g)) {
    const file = join(dirname(entry), from!.replace(/\.js$/, ".d.ts"));
    for (const part of names!.split(",")) {
      const [original, alias = original] = part
        .replace(/\btype\b/, "")
        .trim()
        .split(/\s+as\s+/);
      if (original) exported.set(alias!, file);
    }
  }
  const found: string[] = [];
  for (const [name, file] of exported) {
    const { declaration, known } = declarationOf(file, name);
    for (const [type] of declaration.matchAll(/\b[A-Z][A-Za-z0-9]+\b/g)) {
      if (known.has(type) && !exported.has(type) && type !== name) found.push(`${type} of ${name}`);
    }
  }
  return [...new Set(found)];
}

/** An export's declaration without comments, strings and private parts, and all types that its file declares or imports. */
function declarationOf(file: string, name: string): { readonly declaration: string; readonly known: ReadonlySet<string> } {
  const source = readFileSync(join(root, file), "utf8");
  const moved = new RegExp(`export (?:type )?\\{[^}]*\\b${name}\\b[^}]*\\} from "([^"]+)"`).exec(source);
  if (moved !== null) return declarationOf(join(dirname(file), moved[1]!.replace(/\.js$/, ".d.ts")), name);
  const text = source
    .replace(/\/\*\* @internal \*\/\n.*\n/g, "")
    .replace(/\/\*[\s\S]*?\*\//g, "")
    .replace(/"[^"\n]*"/g, '""');
  const start = text.search(new RegExp(`^(?:export )?declare? ?(?:abstract )?(?:function|class|const|interface|type|let) ${name}\\b`, "m"));
  const alone = text.search(new RegExp(`^export (?:interface|type) ${name}\\b`, "m"));
  const from = start >= 0 ? start : alone;
  if (from < 0) return { declaration: "", known: new Set() };
  const rest = text.slice(from);
  const end = rest.slice(1).search(/^(?:export|declare|interface|type|import)\b/m);
  const names = [...source.matchAll(/^(?:export )?(?:declare )?(?:abstract )?(?:class|interface|type) (\w+)/gm)].map(([, type]) => type!);
  const imported = [...source.matchAll(/import (?:type )?\{([^}]*)\}/g)].flatMap(([, list]) =>
    list!.split(",").map(
      (part) =>
        part
          .replace(/\btype\b/, "")
          .trim()
          .split(/\s+as\s+/)
          .at(-1)!,
    ),
  );
  return { declaration: end < 0 ? rest : rest.slice(0, end + 1), known: new Set([...names, ...imported]) };
}

test("an old Node is told which one is needed", () => {
  expect(failure(() => checkNodeVersion("18.19.1"))).toMatchObject({ code: "native", expected: "Node 20 or later" });
  for (const version of ["20.0.0", "24.1.0", undefined]) expect(() => checkNodeVersion(version)).not.toThrow();
  expect(manifest.engines.node).toBe(`>=${OLDEST_NODE}`);
  const own = /^(?:#!.*\n|\/\/.*\n|\n)*import "(?:\.\.?\/)+node-version\.js";/;
  for (const entry of ["index", "graph/index", "ops/index", "cli/main"]) {
    expect(readFileSync(join(root, "dist", `${entry}.js`), "utf8"), entry).toMatch(own);
  }
});
