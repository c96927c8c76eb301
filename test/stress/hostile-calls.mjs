// Hostile and careless calls of everything that is exported: every call must succeed, or fail as a VaeError, in bounded time.
import { partsOf } from "./behaviours.mjs";
import { makeFiles } from "./files.mjs";
import { graphCalls, indexCalls, modelCalls, networkCalls, opsCalls, placement } from "./good-calls.mjs";
import { chooser, Own, spoiled, zoo } from "./zoo.mjs";

/** Calls that take longer than this on their own, or to settle, are a failure; a loaded machine is slow. */
const LONGEST_SECONDS = 20;
/** Calls that are reported as slow. */
const SLOW_SECONDS = 1;
/** When a model's call has gone on for so long, it is disposed of: a training of very many steps is what was asked for. */
const PATIENCE_MILLISECONDS = 250;

/** Good arguments, spoiled in one of several ways. */
function argumentsOf(good, choose) {
  const valid = good();
  const way = choose.below(21) - 1;
  if (way < 2) return valid;
  if (way < 5) return Array.from({ length: choose.below(4) }, () => choose.of(zoo)());
  if (way < 7) return [...valid, choose.of(zoo)()];
  if (way < 8) return valid.slice(0, -1);
  if (valid.length === 0) return [choose.of(zoo)()];
  const place = choose.below(valid.length);
  return valid.map((value, index) => (index === place ? spoiled(value, choose) : value));
}

/**
 * Calls everything with spoiled arguments.
 *
 * @param library `{ index, ops, graph }`, the package's three entries
 * @param options `calls` in all from `seed`; `folder` is one to save into; `only`, a part of a name, calls what has it alone; `onError` hears of every error
 * @returns `failures` as text, and how many calls there were of each function with how many that succeeded, and `slow`, the calls of more than a
 *   second with the processor time of the process meanwhile
 */
export async function hostileCalls(
  { index, ops, graph },
  { calls, seed, folder, only = "", onCall = () => undefined, onError = () => undefined },
) {
  const { VaeError } = index;
  const choose = chooser(seed);
  const files = await makeFiles(index, folder);
  const makeModel = () =>
    index.vae({ input: [4], latent: 2, encoder: [index.dense(3)], decoder: [index.dense(3)], likelihood: "gaussian", ...placement });
  const makeNetwork = () => index.network({ input: [4], layers: [index.dense(3)], loss: index.crossEntropy(["a", "b"]), ...placement });
  let model = makeModel();
  await model.save(files.model);
  let network = makeNetwork();
  await network.save(files.network);
  const failures = [];
  const counts = new Map();
  const slow = [];
  let current = "before the first call";
  const unhandled = (error) => failures.push(`${current}: unhandled rejection ${shown(error)}`);
  process.on("unhandledRejection", unhandled);

  const shown = (error) =>
    String(error?.stack ?? error)
      .split("\n")
      .slice(0, 6)
      .join("\n");
  const isFine = (error) => {
    if (error instanceof Own) return true;
    if (!(error instanceof VaeError) || error.code === "plan" || error.code === "native") return false;
    return Buffer.byteLength(error.message) <= 2048;
  };
  const from = (group, name, table) => {
    const calls = Object.entries(table).map(([key, good]) => {
      const target = key.split(".").reduce((object, part) => object?.[part], group);
      if (typeof target !== "function") throw new Error(`${name}.${key} is not exported: mend the table of calls`);
      return { name: `${name}.${key}`, good, call: (given) => target(...given) };
    });
    return calls;
  };
  // The function itself, with the methods of what it makes beside it.
  const { apply, invert } = index.standardizer({ columns: null, mean: [0, 1, 0, 1], standardDeviation: [1, 2, 1, 2] });
  const made = Object.assign((...given) => index.standardizer(...given), { apply, invert });
  const ofModel = Object.entries(modelCalls(files, await model.parameters(), choose)).map(([name, good]) => ({
    name: `model.${name}`,
    good,
    call: (given) => model[name](...given),
  }));
  const ofNetwork = Object.entries(networkCalls(files, await network.parameters(), choose)).map(([name, good]) => ({
    name: `network.${name}`,
    good,
    call: (given) => network[name](...given),
  }));
  const all = [
    ...from(graph, "graph", graphCalls(graph)),
    ...from(ops, "ops", opsCalls()),
    ...from({ ...index, standardizer: made }, "index", indexCalls(index, graph, files, choose)),
    ...partsOf(index, graph, choose).map(({ name, good, call }) => ({ name: `index.${name}`, good, call })),
    ...ofModel,
    ...ofNetwork,
  ].filter(({ name }) => name.includes(only));

  const finish = async (result) => {
    if (result instanceof index.Vae) result.dispose();
    else if (typeof result?.dispose === "function") result.dispose();
    else if (typeof result?.next === "function" && typeof result.return === "function") {
      await iterate(result, choose);
    } else if (typeof result?.then === "function") await finish(await result);
  };

  for (let number = 0; number < calls; number++) {
    const { name, good, call } = choose.of(all);
    const given = argumentsOf(good, choose);
    const count = counts.get(name) ?? { calls: 0, successes: 0 };
    counts.set(name, count);
    count.calls++;
    current = `call ${number} (seed ${seed}), ${name}(${given.map((value) => picture(value)).join(", ")})`;
    onCall(current);
    const begin = performance.now();
    const cpu = process.cpuUsage();
    let patience;
    let limit;
    try {
      const running = finish(call(given));
      const impatient = new Promise((_, reject) => {
        limit = setTimeout(() => reject(new Error(`not settled after ${LONGEST_SECONDS} s`)), LONGEST_SECONDS * 1000);
      });
      patience = setTimeout(() => {
        model.dispose();
        network.dispose();
      }, PATIENCE_MILLISECONDS);
      await Promise.race([running, impatient]);
      count.successes++;
    } catch (error) {
      onError(name, error);
      if (!isFine(error)) failures.push(`${current}: ${error?.code ?? ""} ${shown(error)}`);
    } finally {
      clearTimeout(patience);
      clearTimeout(limit);
    }
    const seconds = (performance.now() - begin) / 1000;
    if (seconds > LONGEST_SECONDS) failures.push(`${current}: took ${seconds.toFixed(1)} s`);
    if (seconds > SLOW_SECONDS) slow.push({ call: current, seconds, cpu: process.cpuUsage(cpu).user / 1e6 });
    model = await usable(model, makeModel);
    network = await usable(network, makeNetwork);
  }
  current = "after the last call";
  await new Promise((resolve) => setTimeout(resolve, 50));
  process.off("unhandledRejection", unhandled);
  const isAlive = (await model.sample(1)).length === 4;
  if (!isAlive) failures.push("the model does not sample any more");
  const predicts = (await network.predict(new Float32Array(4))).labels.length === 1;
  if (!predicts) failures.push("the network does not predict any more");
  model.dispose();
  network.dispose();
  return { failures, counts, slow };
}

/** What loops do with an iterator of a training, and what they should not. */
async function iterate(steps, choose) {
  await choose.of([
    async () => {
      for await (const _ of steps);
    },
    async () => {
      for await (const _ of steps) break;
    },
    async () => {
      for await (const _ of steps) throw new Own("from the body of a loop");
    },
    () => steps.return(),
    () => steps.throw(new Own("thrown into it")),
    async () => {
      await steps.next();
      await steps.throw(new Own("thrown into it"));
    },
    () => Promise.all([steps.next(), steps.next(), steps.return()]),
    async () => {
      await steps.next(choose.of(zoo)());
      await steps.return();
      await steps.next();
    },
    async () => undefined, // never entered
  ])();
  if (choose.random() < 0.9) await steps.return(); // and left alone otherwise
}

/** The model, or a new one where it was disposed of. */
async function usable(model, makeModel) {
  try {
    model.memory();
    return model;
  } catch {
    return makeModel();
  }
}

/** A value for the report of a failure; must bear all that the zoo holds. */
function picture(value, depth = 0) {
  try {
    if (typeof value === "string") return JSON.stringify(value.slice(0, 40));
    if (typeof value === "bigint") return `${value}n`;
    if (typeof value !== "object" || value === null) return String(value).slice(0, 40);
    if (depth > 2) return "…";
    if (Array.isArray(value)) return `[${value.slice(0, 8).map((part) => picture(part, depth + 1))}]`;
    if (ArrayBuffer.isView(value)) return `${value.constructor.name}(${value.byteLength} bytes)`;
    const entries = Object.entries(value).slice(0, 8);
    return `${value.constructor?.name ?? "null"}{${entries.map(([key, part]) => `${key}: ${picture(part, depth + 1)}`).join(", ")}}`;
  } catch {
    return "<unreadable>";
  }
}
