import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** Who the ratios are taken to: the best of each family. */
export type Family = "node-vae" | "PyTorch" | "tfjs-node" | "tfjs-wasm" | "tfjs-cpu" | "jax-js";

/** A process that can be started to take part. */
export interface Candidate {
  /** Unique, and what `--contestants` filters by: `node-vae-avx512-1`. */
  readonly name: string;
  readonly family: Family;
  readonly configuration: string;
  readonly threads: number;
  /** The instruction tier whose peak it is measured against: its own where it is forced, else the machine's best. */
  readonly tier: string;
  readonly command: string;
  /** The task goes behind them. */
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** True for a configuration that only differs on images, false for one that takes minutes for a step on them. */
  readonly images?: boolean;
}

/** Somebody who is not on this machine, and why. */
export interface Absent {
  readonly name: string;
  readonly reason: string;
}

export interface Field {
  readonly candidates: readonly Candidate[];
  readonly absent: readonly Absent[];
}

/** What to look for. */
export interface Search {
  /** Instruction tiers of this machine, best first. */
  readonly tiers: readonly string[];
  readonly threads: readonly number[];
  /** Beginnings of names; empty for everybody. */
  readonly contestants: readonly string[];
  /** Python interpreters to try for one that has PyTorch. */
  readonly pythons: readonly string[];
}

const require = createRequire(import.meta.url);

/** A program of this folder, as compiled. */
export function program(name: string): string {
  return fileURLToPath(new URL(`./contestants/${name}.js`, import.meta.url));
}

/** Everybody who is found on this machine and asked for. */
export function findContestants({ tiers, threads, contestants, pythons }: Search): Field {
  const best = tiers[0] ?? "portable";
  const wanted = ({ name }: { readonly name: string }) =>
    contestants.length === 0 || contestants.some((beginning) => name.startsWith(beginning));
  const inNode = { command: process.execPath, environment: {}, threads: 1, tier: best };
  const nodeVae = tiers.flatMap((tier) =>
    threads.map((count): Candidate => {
      // --expose-gc: the memory of the model is what is left when JavaScript has cleaned up.
      const own = { configuration: tier, tier, threads: count, args: ["--expose-gc", program("node-vae")] };
      return { ...inNode, ...own, name: `node-vae-${tier}-${count}`, family: "node-vae" };
    }),
  );
  const inJavaScript: Candidate[] = [
    { ...inNode, name: "tfjs-node", family: "tfjs-node", configuration: "node", args: [program("tfjs")], environment: tensorflowThreads },
    { ...inNode, name: "tfjs-wasm", family: "tfjs-wasm", configuration: "wasm", args: [program("tfjs")] },
    { ...inNode, name: "tfjs-cpu", family: "tfjs-cpu", configuration: "cpu", args: [program("tfjs")], images: false },
    { ...inNode, name: "jax-js-wasm", family: "jax-js", configuration: "wasm", args: [program("jax-js")], images: false },
  ];
  const packages: Readonly<Record<string, string>> = {
    "tfjs-node": "@tensorflow/tfjs-node",
    "tfjs-wasm": "@tensorflow/tfjs-backend-wasm",
    "tfjs-cpu": "@tensorflow/tfjs",
    "jax-js-wasm": "@jax-js/jax",
  };
  const missing = inJavaScript.filter(({ name }) => !isInstalled(packages[name]!));
  // Looking for PyTorch takes seconds: only where a name asked for can be one of its.
  const torchWanted = contestants.length === 0 || contestants.some((it) => it.startsWith("pytorch") || "pytorch".startsWith(it));
  const torch = torchWanted ? pytorch(best, pythons) : { candidates: [], absent: [] };
  return {
    candidates: [...nodeVae, ...torch.candidates, ...inJavaScript.filter((peer) => !missing.includes(peer))].filter(wanted),
    absent: [...torch.absent, ...missing.map(({ name }) => ({ name, reason: `the package ${packages[name]} is not installed` }))].filter(
      wanted,
    ),
  };
}

/** TensorFlow takes all processors unless it is told at its start. */
const tensorflowThreads = { TF_NUM_INTRAOP_THREADS: "1", TF_NUM_INTEROP_THREADS: "1", OMP_NUM_THREADS: "1" };

function isInstalled(name: string): boolean {
  try {
    require.resolve(name);
    return true;
  } catch {
    return false;
  }
}

/** One contestant per configuration that this PyTorch can be in; the best of them is the one to beat. */
function pytorch(tier: string, pythons: readonly string[]): Field {
  const script = fileURLToPath(new URL("../../bench/contestants/pytorch.py", import.meta.url));
  for (const command of pythons) {
    const version = versionOf(command, script);
    if (version === undefined) continue;
    const since2 = Number.parseInt(version, 10) >= 2;
    const configurations = ["eager", "eager-foreach", "jit-foreach", ...(since2 ? ["eager-fused", "compile-fused"] : [])];
    const onImages = configurations.filter((name) => name !== "eager").map((name) => `${name}-channelslast`);
    const shared = { family: "PyTorch", threads: 1, tier, command, environment: { OMP_NUM_THREADS: "1", MKL_NUM_THREADS: "1" } } as const;
    return {
      candidates: [...configurations, ...onImages].map((configuration) => ({
        ...shared,
        name: `pytorch-${configuration}`,
        configuration,
        args: [script],
        ...(onImages.includes(configuration) ? { images: true } : {}),
      })),
      absent: [],
    };
  }
  return { candidates: [], absent: [{ name: "pytorch", reason: `none of ${pythons.join(", ")} can import torch` }] };
}

function versionOf(python: string, script: string): string | undefined {
  try {
    return execFileSync(python, [script, "--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], timeout: 60_000 }).trim();
  } catch {
    return undefined;
  }
}
