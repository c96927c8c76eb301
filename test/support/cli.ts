import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The package's folder. The commands are tested as they are installed: compiled, in a process of their own. */
export const root = fileURLToPath(new URL("../..", import.meta.url));
export const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
  /** Resolves when standard error matches. */
  seen(pattern: RegExp): Promise<void>;
}

/** Starts node with these arguments. */
export function startNode(args: readonly string[], { cwd = root, env = {} }: { cwd?: string; env?: NodeJS.ProcessEnv } = {}): Running {
  const child = spawn(process.execPath, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      output[name] += text;
    });
  }
  const finished = new Promise<Finished>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, ...output }));
  });
  const seen = async (pattern: RegExp): Promise<void> => {
    const ended = finished.then(() => "ended" as const);
    while (!pattern.test(output.stderr)) {
      const next = new Promise<void>((resolve) => child.stderr.once("data", () => resolve()));
      if ((await Promise.race([next, ended])) === "ended" && !pattern.test(output.stderr)) {
        throw new Error(`ended without ${pattern}: ${output.stderr}`);
      }
    }
  };
  return { child, finished, seen };
}

/** Starts `node-vae` with these arguments. */
export function start(args: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}): Running {
  return startNode([main, ...args], options);
}

/** Runs `node-vae` to its end. */
export function run(args: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}): Promise<Finished> {
  return start(args, options).finished;
}
