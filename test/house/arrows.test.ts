// The house rules on who may know whom, read off the import and include lines.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { expect, test } from "vitest";

const root = new URL("../../", import.meta.url).pathname;

interface Source {
  /** From the root of the repository. */
  readonly path: string;
  readonly text: string;
}

/** What a room of lib/ may import beside itself. A file that stands in lib/ is a room of its own. */
const rooms: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  "node-version": ["errors"],
  graph: ["errors", "node-version"],
  compile: ["errors", "graph"],
  runtime: ["errors", "graph", "compile"],
  ops: ["errors", "node-version", "graph", "runtime"],
  nn: ["errors", "graph"],
  io: ["errors", "graph", "runtime"],
  distributions: ["errors", "graph", "nn"],
  train: ["errors", "graph", "nn", "runtime", "io"], // knows no VAE
  vae: ["errors", "graph", "nn", "distributions", "runtime", "io", "train"],
  network: ["errors", "graph", "nn", "runtime", "io", "train"], // knows no VAE
  model: ["errors", "graph", "nn", "runtime", "io", "train", "vae"],
  index: ["errors", "node-version", "graph", "nn", "distributions", "runtime", "io", "train", "network", "vae", "model"],
  cli: ["errors", "node-version", "graph", "nn", "runtime", "io", "train", "model", "index"],
};

/** Rooms that are mathematics only: nothing of Node, and no package. */
const pure: readonly string[] = ["errors", "graph", "compile", "nn", "distributions"];

/** Rooms that may use packages. */
const withPackages: readonly string[] = ["io", "cli"];

/** Files that resolve or read a package's own files, which is not loading the addon. */
const resolvers: readonly string[] = ["lib/cli/demo-subjects.ts", "lib/cli/doctor.ts", "lib/io/mnist.ts", "lib/runtime/locate.ts"];

const addonFile = "lib/runtime/native.ts";

/** Says where the addon is, and loads nothing. */
const locatorFile = "lib/runtime/locate.ts";

/** Which files of native/ a group may include, beside its own. */
const nativeGroups: readonly { readonly name: string; readonly files: RegExp; readonly mayInclude: RegExp }[] = [
  {
    name: "cuda session", // the driver, the device and session on top of it, and what they find out about plans
    files: /^native\/cuda\/(driver|context|memory|modules|recording|pipeline|session|device|accesses|dependencies|placement|noise)\./,
    mayInclude: /^native\/(cuda\/.*|(?!addon)[^/]*)$/,
  },
  // Kernels see resolved steps (backend.h with the types of plan.h); where those came from is not their business.
  {
    name: "kernels",
    files: /^native\/((cpu|cuda)\/|(space|axes)\.)/,
    mayInclude: /^native\/((cpu|cuda)\/.*|(backend|plan|pool|philox|space|axes)\.h|ops\.def)$/,
  },
  { name: "addon", files: /^native\/addon[^/]*$/, mayInclude: /^native\/([^/]*|cuda\/(device|lowering|noise)\.h)$/ },
  {
    name: "session",
    files: /^native\/(session|cpu_session|binding|device|queue|snapshot|memory)\./,
    mayInclude: /^native\/(?!addon)[^/]*$/,
  },
  { name: "plan", files: /^native\/(plan[^/]*|backend\.h|philox\.h|pool\..*)$/, mayInclude: /^native\/(plan[^/]*\.h|pool\.h|ops\.def)$/ },
];

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "$1");
}

function importsOf(text: string): string[] {
  const code = withoutComments(text);
  const statements = [/\b(?:import|export)\s[^;"]*?\bfrom\s*"([^"]+)"/g, /\bimport\s*"([^"]+)"/g, /\bimport\(\s*"([^"]+)"/g];
  return statements.flatMap((statement) => [...code.matchAll(statement)].map(([, from]) => from!));
}

function roomOf(path: string): string {
  const [, room = ""] = /^lib\/([^/]+?)(?:\.ts|\/.*)$/.exec(path) ?? [];
  return room;
}

/** The wrong arrows of a TypeScript file, in words. */
function wrongImports({ path, text }: Source): string[] {
  const room = roomOf(path);
  const allowed = rooms[room];
  if (allowed === undefined) return [`${path}: the room "${room}" has no rule; add it to the table of this test`];
  const wrong = importsOf(text).flatMap((from) => {
    if (from.startsWith(".")) {
      const target = normalize(join(dirname(path), from));
      const other = roomOf(target.replace(/\.js$/, ".ts"));
      if (other === room || allowed.includes(other)) return [];
      return [`${path} imports "${from}": ${room} may import ${["itself", ...allowed].join(", ")}, not ${other || target}`];
    }
    if (from.startsWith("node:")) return pure.includes(room) ? [`${path} imports "${from}": ${room} needs nothing of Node`] : [];
    return withPackages.includes(room) ? [] : [`${path} imports "${from}": packages are used by ${withPackages.join(" and ")} only`];
  });
  return [...wrong, ...addonLoads({ path, text })];
}

function addonLoads({ path, text }: Source): string[] {
  if (path === addonFile) return [];
  const code = withoutComments(text);
  const means = [
    /\bdlopen\b/,
    ...(path === locatorFile ? [] : [/\.node["'`]/]),
    ...(resolvers.includes(path) ? [] : [/\bcreateRequire\b/]),
  ];
  return means
    .map((mean) => mean.exec(code)?.[0])
    .filter((found) => found !== undefined)
    .map((found) => `${path} uses ${found}: only ${addonFile} loads the addon`);
}

/** The wrong arrows of a C++ file, in words. */
function wrongIncludes({ path, text }: Source): string[] {
  const group = nativeGroups.find(({ files }) => files.test(path));
  if (group === undefined) return path.endsWith(".def") ? [] : [`${path}: no group has it; add it to the table of this test`];
  const code = withoutComments(text);
  const wrong = [...code.matchAll(/^\s*#\s*include\s*(["<])([^">]+)[">]/gm)].flatMap(([, quote, name]) => {
    if (quote === "<") {
      const isNodeApi = /^(napi|node_api|js_native_api|uv|v8)/.test(name!);
      return isNodeApi && group.name !== "addon" ? [`${path} includes <${name}>: N-API is used by native/addon* only`] : [];
    }
    const target = normalize(join(dirname(path), name!));
    return group.mayInclude.test(target) ? [] : [`${path} includes "${name}": ${group.name} may include ${group.mayInclude.source}`];
  });
  const parsed = group.name === "kernels" ? /\b(parse_plan|check_plan)\b/.exec(code) : null;
  return parsed ? [...wrong, `${path} uses ${parsed[0]}: kernels do not parse plans`] : wrong;
}

function sources(folder: string, pattern: RegExp): Source[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => ({ path: relative(root, file), text: readFileSync(file, "utf8") }));
}

test("imports of lib/ follow the arrows", () => {
  const files = sources("lib", /\.ts$/);
  expect(files.length).toBeGreaterThan(50);
  expect(files.flatMap(({ text }) => importsOf(text)).length).toBeGreaterThan(200);
  expect(files.flatMap(wrongImports)).toEqual([]);
});

test("includes of native/ follow the arrows", () => {
  const files = sources("native", /\.(cc|h|inc|def|cu|cuh)$/);
  expect(files.length).toBeGreaterThan(20);
  expect(files.flatMap(wrongIncludes)).toEqual([]);
});

test.each([
  ["lib/graph/a.ts", 'import { compile } from "../compile/index.js";', "graph may import itself, errors, node-version, not compile"],
  ["lib/graph/a.ts", 'import type {\n  Plan,\n} from "../compile/plan.js";', "not compile"],
  ["lib/graph/a.ts", 'export { x } from "../runtime/device.js";', "not runtime"],
  ["lib/compile/a.ts", 'await import("../runtime/device.js");', "not runtime"],
  ["lib/train/a.ts", 'import { elbo } from "../vae/index.js";', "not vae"],
  ["lib/nn/a.ts", 'import "../vae/index.js";', "not vae"],
  ["lib/nn/a.ts", 'import { readFileSync } from "node:fs";', "nothing of Node"],
  ["lib/io/a.ts", 'import { vae } from "../index.js";', "not index"],
  ["lib/train/a.ts", 'import sharp from "sharp";', "packages are used by io and cli only"],
  ["lib/kitchen/a.ts", "", 'the room "kitchen" has no rule'],
  ["lib/cli/a.ts", 'process.dlopen(module, "x");', `only ${addonFile} loads the addon`],
  ["lib/ops/a.ts", "createRequire(import.meta.url);", "loads the addon"],
])("a wrong import is found: %s, %s", (path, text, message) => {
  expect(wrongImports({ path, text }).join("\n")).toContain(message);
});

test("what only looks like a wrong import passes", () => {
  const text = '/** import { x } from "../vae/index.js"; */\n// import "../vae/index.js";\nimport { VaeError } from "../errors.js";';
  expect(wrongImports({ path: "lib/graph/a.ts", text })).toEqual([]);
});

test.each([
  ["native/cpu/a.cc", "#include <napi.h>", "N-API is used by native/addon* only"],
  ["native/session.cc", "#include <node_api.h>", "N-API"],
  ["native/cpu/a.inc", '#include "../plan_check.h"', "kernels may include"],
  ["native/cuda/a.cu", '#include "../session.h"', "kernels may include"],
  ["native/cpu/a.cc", "Plan p = parse_plan(words, n);", "kernels do not parse plans"],
  ["native/session.h", '#include "addon_values.h"', "session may include"],
  ["native/session.h", '#include "cpu/kernels.h"', "session may include"],
  ["native/plan.cc", '#include "session.h"', "plan may include"],
  ["native/other.cc", "", "no group has it"],
])("a wrong include is found: %s, %s", (path, text, message) => {
  expect(wrongIncludes({ path, text }).join("\n")).toContain(message);
});
