// Hostile and careless calls: whatever is handed to whatever is exported, the call succeeds or fails as a VaeError, and the
// process and the model live on. `node test/stress/calls.mjs` makes a million of them.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import * as graph from "../../lib/graph/index.js";
import * as index from "../../lib/index.js";
import * as ops from "../../lib/ops/index.js";
import { hostileCalls } from "../stress/hostile-calls.mjs";

const home = process.cwd();
let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "node-vae-calls-"));
  process.chdir(folder); // some of the strings are paths to save to
});
afterAll(() => {
  process.chdir(home);
  rmSync(folder, { recursive: true, force: true });
});

test("10,000 hostile calls of everything: none hangs, none fails but as a VaeError", async () => {
  const { failures, counts } = await hostileCalls({ index, ops, graph }, { calls: 10_000, seed: 1, folder });
  expect(failures).toEqual([]);
  expect(counts.size).toBeGreaterThan(200);
  // The calls are not hostile to the point of never getting anywhere.
  const successes = [...counts.values()].reduce((total, count) => total + count.successes, 0);
  expect(successes).toBeGreaterThan(2000);
});

test("every function that is exported is called", async () => {
  const { counts } = await hostileCalls({ index, ops, graph }, { calls: 3000, seed: 2, folder });
  const called = new Set(counts.keys());
  const functions = Object.entries({ graph, ops, index }).flatMap(([entry, exports]) =>
    Object.entries(exports)
      .filter(([, value]) => typeof value === "function" && !/^class /.test(String(value)))
      .map(([name]) => `${entry}.${name}`),
  );
  expect(functions.filter((name) => !called.has(name))).toEqual([]);
  const loaders = Object.keys(index.datasets).map((name) => `index.datasets.${name}`);
  expect(loaders.filter((name) => !called.has(name))).toEqual([]);
});
