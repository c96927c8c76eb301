// Checks that every C++ source is as clang-format would have it; `--write` formats them. Exits with 1 on a difference.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folders = ["native", "test/native", "bench/kernels"];
const { getNativeBinary } = createRequire(import.meta.url)("clang-format");
const write = process.argv.includes("--write");

const files = folders
  .filter((folder) => existsSync(join(root, folder)))
  .flatMap((folder) => readdirSync(join(root, folder), { recursive: true }).map((name) => join(folder, name)))
  .filter((file) => /\.(cc|cpp|h|inc|cu|cuh)$/.test(file))
  .sort();

const mode = write ? ["-i"] : ["--dry-run"];
const { status, stderr, error } = spawnSync(getNativeBinary(), [...mode, ...files], { cwd: root, encoding: "utf8" });
if (error || status !== 0) {
  console.error(`clang-format could not run: ${error?.message ?? stderr}`);
  process.exit(2);
}
// A warning for each difference: `native/plan.h:55:15: warning: code should be clang-formatted [...]`.
const different = new Set([...stderr.matchAll(/^(.+?):\d+:\d+: warning: code should be clang-formatted/gm)].map(([, file]) => file));
if (different.size > 0) {
  for (const file of different) console.error(`not formatted: ${file}`);
  console.error("run `npm run format`");
  process.exit(1);
}
console.log(`${files.length} C++ files formatted`);
