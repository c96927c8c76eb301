// What ARCHITECTURE.md and CONTRIBUTING.md promise: their programs run, their files and scripts exist, their table of rooms is the one
// that is enforced. And public names have comments.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { root, startNode } from "../support/cli.js";

const read = (file: string): string => readFileSync(join(root, file), "utf8");
const architecture = read("ARCHITECTURE.md");

const programs = [...architecture.matchAll(/^```ts\n\/\/ ([a-z]+)\.ts\n(.*?)^```$/gms)].map(([, name, text]) => ({
  name: name!,
  text: text!,
}));

let folder: string;

beforeAll(() => {
  // Inside the package, where "node-vae" is the package itself.
  mkdirSync(join(root, "build"), { recursive: true });
  folder = mkdtempSync(join(root, "build", "documents-"));
  for (const { name, text } of programs) writeFileSync(join(folder, `${name}.ts`), text);
  const files = programs.map(({ name }) => `${name}.ts`);
  const compilerOptions = { noEmit: false, rootDir: ".", outDir: ".", declaration: false, sourceMap: false };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", compilerOptions, include: [], files }));
  try {
    execFileSync(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", folder], { encoding: "utf8" });
  } catch (error) {
    throw new Error((error as { stdout: string }).stdout);
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What each worked example prints. */
const printed: Readonly<Record<string, RegExp>> = {
  layer: /layers\.first\.gates\.head\.bias layers\.first\.strength layers\.head\.weight/,
  family: /^-?\d+\.\d+ 2$/,
  wiring: /^640 10 18 384$/,
  loss: /^128 64$/,
};

describe("the worked examples of ARCHITECTURE.md", () => {
  test("are those that are run here", () => {
    expect(programs.map(({ name }) => name)).toEqual(Object.keys(printed));
  });
  test.each(Object.entries(printed))("%s runs", async (name, output) => {
    const { code, stdout, stderr } = await startNode([`${name}.js`], { cwd: folder }).finished;
    expect(code, stderr).toBe(0);
    expect(stdout.trim()).toMatch(output);
  });
});

test("the table of rooms says what arrows.test.ts enforces", () => {
  const [, rules] = /const rooms[^{]*\{\n(.*?)^\};$/ms.exec(read("test/house/arrows.test.ts"))!;
  const enforced = new Map(
    [...rules!.matchAll(/^ {2}"?([\w-]+)"?: (\[.*?\])/gm)].map(([, room, list]) => [room!, JSON.parse(list!) as string[]]),
  );
  const rows = [...architecture.matchAll(/^\| `([\w-]+)` +\|[^|]+\| ([^|]+) \|$/gm)];
  const written = new Map(rows.map(([, room, list]) => [room!, list!.trim() === "nothing" ? [] : list!.trim().split(", ")]));
  expect(enforced.size).toBeGreaterThan(10);
  expect(Object.fromEntries(written)).toEqual(Object.fromEntries(enforced));
  const there = readdirSync(join(root, "lib"), { withFileTypes: true }).map((entry) => entry.name.replace(/\.ts$/, ""));
  expect(there.filter((room) => !written.has(room))).toEqual([]);
});

describe.each(["ARCHITECTURE.md", "CONTRIBUTING.md"])("%s", (document) => {
  const text = read(document);
  test("names files that exist", () => {
    const paths = [...text.matchAll(/`((?:lib|test|native|bench|scripts|docs)\/[\w./-]*)`/g)].map(([, path]) => path!);
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, target]) => target!);
    expect(paths.length + links.length).toBeGreaterThan(10);
    const missing = [...paths, ...links].filter((path) => !existsSync(join(root, path.endsWith("*") ? path.slice(0, -1) : path)));
    expect(missing).toEqual([]);
  });
  test("names npm scripts that exist, and no machine paths", () => {
    const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
    for (const [, script] of text.matchAll(/npm run ([a-z:]+)/g)) expect(Object.keys(scripts)).toContain(script);
    expect(text).not.toMatch(/\/(tmp|home|root|Users)\//);
  });
});

interface Export {
  /** As it is imported, and as it is declared. */
  readonly name: string;
  readonly original: string;
  readonly file: string;
}

/** What an index file exports from others. */
function exportsOf(index: string): Export[] {
  const statements = [...read(`lib/${index}.ts`).matchAll(/^export (?:type )?\{([^}]*)\} from "([^"]+)";/gm)];
  return statements.flatMap(([, names, from]) => {
    const file = join(index, "..", from!).replace(/\.js$/, "");
    return [...names!.matchAll(/(?:type )?(\w+)(?: as (\w+))?(?:,|\s*$)/g)].map(([, original, alias]) => ({
      name: alias ?? original!,
      original: original!,
      file,
    }));
  });
}

/** What stands before the declaration of a name: in the file, or in the one that the file has it from. */
function beforeDeclaration({ original, file }: Export): string | undefined {
  const text = read(`lib/${file}.ts`);
  const declaration = new RegExp(`^export (?:declare |abstract |async )*(?:function\\*?|class|interface|type|const) ${original}\\b`, "m");
  const found = declaration.exec(text);
  if (found !== null) return text.slice(0, found.index);
  const inner = exportsOf(file).find(({ name }) => name === original);
  return inner && beforeDeclaration(inner);
}

test.each(["index", "graph/index", "ops/index"])("every name that lib/%s.ts takes from other files has a comment", (index) => {
  const names = exportsOf(index);
  expect(names.length).toBeGreaterThan(20);
  const without = names.filter((part) => !/\*\/\s*(?:\/\/ biome-ignore .*\s*)?$/.test(beforeDeclaration(part) ?? ""));
  expect(without.map(({ name, file }) => `${name} in ${file}.ts`)).toEqual([]);
});
