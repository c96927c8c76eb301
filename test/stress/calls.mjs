// Very many hostile calls of the built package: `node test/stress/calls.mjs [--calls 1000000] [--seed 1] [--only conv]
// [--messages]`: with the last, one message of each form that was met is printed at the end.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { hostileCalls } from "./hostile-calls.mjs";

const { values } = parseArgs({
  options: {
    calls: { type: "string", default: "1000000" },
    seed: { type: "string", default: "1" },
    only: { type: "string", default: "" },
    messages: { type: "boolean", default: false },
  },
});
const [index, ops, graph] = await Promise.all(["index", "ops/index", "graph/index"].map((entry) => import(`../../dist/${entry}.js`)));

const home = process.cwd();
const folder = mkdtempSync(join(tmpdir(), "node-vae-calls-"));
process.chdir(folder); // the zoo has strings, and some are paths to save to

const BLOCK = 10_000;
const all = Number(values.calls);
let failed = 0;
const begin = performance.now();
const totals = new Map();
const messages = new Map();
let longest = 0;
/** The message without what differs from call to call. */
const formOf = (message) =>
  message
    .replace(/received .*/, "received …")
    .replace(/"[^"]*"/g, '"…"')
    .replace(/-?\d[\d.e+]*/g, "#")
    .replace(/\[[#, …]*\]/g, "[…]");
const onError = (name, error) => {
  if (error?.name !== "VaeError") return;
  longest = Math.max(longest, Buffer.byteLength(error.message));
  const form = formOf(error.message);
  if (values.messages && !messages.has(form)) messages.set(form, `${name} (${error.code})\n${error.message}`);
};
for (let done = 0; done < all; done += BLOCK) {
  const seed = Number(values.seed) + done / BLOCK;
  const calls = Math.min(BLOCK, all - done);
  const { failures, counts, slow } = await hostileCalls({ index, ops, graph }, { calls, seed, folder, only: values.only, onError });
  for (const failure of failures) console.log(`${failure}\n`);
  for (const { call, seconds: taken, cpu } of slow) console.log(`slow: ${taken.toFixed(1)} s, ${cpu.toFixed(1)} s of CPU: ${call}\n`);
  failed += failures.length;
  for (const [name, count] of counts) {
    const total = totals.get(name) ?? { calls: 0, successes: 0 };
    totals.set(name, { calls: total.calls + count.calls, successes: total.successes + count.successes });
  }
  const seconds = (performance.now() - begin) / 1000;
  const megabytes = process.memoryUsage().rss / 2 ** 20;
  console.log(`${done + calls} calls, ${failed} failures, ${seconds.toFixed(0)} s, ${megabytes.toFixed(0)} MB`);
}
const never = [...totals].filter(([, { successes }]) => successes === 0).map(([name]) => name);
console.log(`${totals.size} functions${never.length > 0 ? `; no call succeeded of ${never.join(", ")}` : ""}`);
if (values.messages) console.log(`\n${[...messages.values()].join("\n\n")}\n`);
console.log(`the longest message has ${longest} bytes`);
process.chdir(home);
rmSync(folder, { recursive: true, force: true });
process.exitCode = failed > 0 ? 1 : 0;
