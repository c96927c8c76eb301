// The README is a promise: its programs compile, its first one runs, its commands and links exist.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { load } from "../../lib/index.js";
import { root, run, startNode } from "../support/cli.js";

const readme = readFileSync(join(root, "README.md"), "utf8");

function blocks(language: string): string[] {
  return [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms"))].map(([, text]) => text!);
}

let folder: string;

beforeAll(() => {
  // Inside the package, where "node-vae" is the package itself, and outside what is formatted and committed.
  mkdirSync(join(root, "build"), { recursive: true });
  folder = mkdtempSync(join(root, "build", "readme-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

test("every program compiles under strict, and the first one runs", async () => {
  const programs = blocks("ts");
  expect(programs.length).toBeGreaterThanOrEqual(3);
  expect(programs[0]!.trim().split("\n").length).toBeLessThanOrEqual(16);
  const files = programs.map((text, index) => {
    writeFileSync(join(folder, `program${index}.ts`), text);
    return `program${index}.ts`;
  });
  const compilerOptions = { noEmit: false, rootDir: ".", outDir: ".", declaration: false, sourceMap: false, noUnusedLocals: false };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", compilerOptions, include: [], files }));
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  try {
    execFileSync(process.execPath, [compiler, "-p", folder], { encoding: "utf8" });
  } catch (error) {
    throw new Error((error as { stdout: string }).stdout);
  }

  const { code, stdout, stderr } = await startNode(["program0.js"], { cwd: folder }).finished;
  expect(code, stderr).toBe(0);
  expect(stdout).toMatch(/\d/);
  expect(existsSync(join(folder, "samples.png"))).toBe(true);
  using model = await load(join(folder, "digits.vae"));
  expect(model.training.step).toBeGreaterThan(400);
});

test("every command line names commands and options that exist", async () => {
  const lines = blocks("sh")
    .flatMap((text) => text.replaceAll("\\\n", " ").split("\n"))
    .map((line) => line.replace(/#.*/, ""))
    .filter((line) => /\bnode-vae [a-z]/.test(line));
  expect(lines.length).toBeGreaterThanOrEqual(6);
  const help = new Map<string, string>();
  for (const line of lines) {
    const [, command] = /\bnode-vae ([a-z]+)/.exec(line)!;
    if (!help.has(command!)) help.set(command!, (await run([command!, "--help"])).stdout);
    expect(help.get(command!), line).toMatch(/^Usage/);
    for (const [option] of line.matchAll(/--[a-z-]+/g)) expect(help.get(command!), line).toMatch(new RegExp(`${option}[ ,\n]`));
  }
});

test("links and pictures exist; npm scripts that are named exist; there are no host names of registries or machine paths", () => {
  for (const [, target] of readme.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) expect(existsSync(join(root, target!)), target).toBe(true);
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: Record<string, string> };
  for (const [, script] of readme.matchAll(/npm run ([a-z:]+)/g)) expect(Object.keys(scripts)).toContain(script);
  expect(readme).not.toMatch(/\/(tmp|home|root|Users)\//);
});

test("every error code is explained", () => {
  const source = readFileSync(join(root, "lib", "errors.ts"), "utf8");
  const codes = [...source.slice(0, source.indexOf("/** The parts")).matchAll(/\| "([a-z]+)"/g)].map(([, code]) => code!);
  expect(codes.length).toBeGreaterThan(8);
  for (const code of codes) expect(readme).toContain(`\`"${code}"\``);
});
