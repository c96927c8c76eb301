// The package as others' tools see it: bundlers, type checkers of other settings, an old Node.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build as esbuild } from "esbuild";
import { afterAll, describe, expect, test } from "vitest";
import { checkNodeVersion, OLDEST_NODE } from "../lib/node-version.js";
import { addonPath } from "../lib/runtime/native.js";
import { failure } from "./support/failure.js";

const root = fileURLToPath(new URL("../", import.meta.url));
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
  async function bundle(format: "cjs" | "esm", home: string): Promise<string> {
    const from = folder(`sources-${format}`);
    mkdirSync(join(from, "node_modules"), { recursive: true });
    if (!existsSync(join(from, "node_modules/node-vae"))) symlinkSync(root, join(from, "node_modules/node-vae"));
    writeFileSync(join(from, "program.mjs"), program);
    const outfile = join(home, format === "cjs" ? "bundle.cjs" : "bundle.mjs");
    const options = { bundle: true, platform: "node", format, outfile, logLevel: "error", external: ["sharp"] } satisfies BuildOptions;
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
});

describe("types", () => {
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
});

test("an old Node is told which one is needed", () => {
  expect(failure(() => checkNodeVersion("18.19.1"))).toMatchObject({ code: "native", expected: "Node 20 or later" });
  for (const version of ["20.0.0", "24.1.0", undefined]) expect(() => checkNodeVersion(version)).not.toThrow();
  expect(manifest.engines.node).toBe(`>=${OLDEST_NODE}`);
  const own = /^(?:#!.*\n|\/\/.*\n|\n)*import "(?:\.\.?\/)+node-version\.js";/;
  for (const entry of ["index", "graph/index", "ops/index", "cli/main"]) {
    expect(readFileSync(join(root, "dist", `${entry}.js`), "utf8"), entry).toMatch(own);
  }
});
