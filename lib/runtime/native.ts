// The only file that loads the addon. Everything the addon offers is typed here; nothing else knows its shape.

import { createRequire } from "node:module";
import { isAbsolute } from "node:path";
import { pathToFileURL } from "node:url";
import { VaeError, type VaeErrorCode } from "../errors.js";
import { codeOf, messageOf } from "../graph/kinds.js";
import { addonPlaces } from "./locate.js";

/** A device with its thread pool, queue and resident memory. Opaque. */
export type NativeContext = { readonly __context: unique symbol };
/** Memory that lives on the device between runs: weights, optimizer state, data sets. Opaque. */
export type NativeBuffer = { readonly __buffer: unique symbol };
/** A validated plan with its arena, bound to resident buffers. Opaque. */
export type NativeSession = { readonly __session: unique symbol };

/** The values of a tensor on the side of JavaScript, row-major. */
export type HostArray = Float32Array | Int32Array | Uint8Array;

export interface RunOptions {
  /** How many times the plan runs. */
  readonly steps: number;
  /** The step counter of the first of them. */
  readonly firstStep: number;
  /** Seed, as two uint32 words. */
  readonly seedLow: number;
  readonly seedHigh: number;
  /** One array per plan input, copied before the promise is returned. */
  readonly inputs: readonly HostArray[];
  /** Collect nanoseconds per plan step. */
  readonly profile: boolean;
}

export interface RunResult {
  /** One array per plan output. */
  readonly outputs: readonly HostArray[];
  /** completed × terms, row-major. */
  readonly terms: Float32Array;
  /** Steps whose updates were made. */
  readonly completed: number;
  /**
   * "done", "stopped" by stop(), or "diverged": a term was not finite, and the weights are the last ones whose own terms were
   * seen finite (native/snapshot.h).
   */
  readonly status: "done" | "stopped" | "diverged";
  /** For "diverged": the counter of the step that met it, and the index of the term. */
  readonly divergedStep: number;
  readonly divergedTerm: number;
  /** The step counter at which the weights stand now: a run that goes on begins there. */
  readonly restoredStep: number;
  /** Nanoseconds per plan step, summed over the steps of the run, when asked for; else empty. */
  readonly profile: Float64Array;
}

/**
 * How products and convolutions are computed on CUDA: in float32, or on tensor cores from operands rounded to TensorFloat-32
 * or bfloat16. All of them sum up in float32, and everything else is float32 always.
 */
export type Precision = "float32" | "tf32" | "bfloat16";

/** What there is of CUDA. */
export interface CudaInfo {
  /** Whether this build of the addon has the CUDA backend. */
  readonly compiled: boolean;
  /** The devices that can be used: `"cuda:0 <name> (compute capability 8.0, 39.6 GiB)"`. */
  readonly devices: readonly string[];
  /** Why there is none, or `""`. */
  readonly problem: string;
}

/** A launch of a CUDA kernel, as {@link Addon.lowerCuda} prints it. */
export interface CudaLaunch {
  readonly entry: string;
  readonly grid: readonly [number, number, number];
  readonly threads: number;
  /** Dynamic shared memory of a block. */
  readonly sharedBytes: number;
  /** The module that the entry is in. */
  readonly ptx: string;
}

export interface Addon {
  /** Version, compiler, and the tables of ops.def in order. */
  info(): {
    readonly version: string;
    readonly compiler: string;
    readonly kernels: readonly string[];
    readonly instructions: readonly string[];
    /** Instruction tiers that this processor can run, best first, and the one in force. */
    readonly tiers: readonly string[];
    readonly tier: string;
    readonly processors: number;
    /** Asked of the driver when it is read. */
    readonly cuda: CudaInfo;
  };
  openContext(device: "cpu" | `cuda:${number}`, threads: number, tier: string, precision: Precision): NativeContext;
  closeContext(context: NativeContext): void;
  allocate(context: NativeContext, dtype: "float32" | "int32" | "uint8", elements: number): NativeBuffer;
  release(buffer: NativeBuffer): void;
  /**
   * Copies into the buffer at an element offset, behind every run already queued. `again` keeps the memory that the data are held
   * in until then, for the next writes to the buffer.
   */
  write(buffer: NativeBuffer, offset: number, data: HostArray, again?: boolean): Promise<void>;
  /** Copies the whole buffer out, behind every run already queued. */
  read(buffer: NativeBuffer): Promise<HostArray>;
  compile(context: NativeContext, words: Int32Array, residents: readonly NativeBuffer[]): NativeSession;
  /** Bytes that a session of the plan would take for partial results and tiles; 0 on CUDA, where that is not known beforehand. */
  scratchBytes(context: NativeContext, words: Int32Array): number;
  disposeSession(session: NativeSession): void;
  run(session: NativeSession, options: RunOptions): Promise<RunResult>;
  /** Asks the run in progress, and those queued behind it, to end after the step they are in. */
  stop(session: NativeSession): void;
  memory(session: NativeSession): { readonly arena: number; readonly scratch: number; readonly residents: number };
  /**
   * What a CUDA device of a compute capability (80 for 8.0) would be given for a plan: a list of launches for each of its
   * steps. Needs no driver; addresses are made up.
   */
  lowerCuda(words: Int32Array, capability: number, precision: Precision): readonly (readonly CudaLaunch[])[];
  /** GFLOP/s of register-only FMAs and of the GEMM microkernel in L1, on one thread, for the given seconds each. */
  probe(tier: string, seconds: number): { readonly fma: number; readonly l1: number };
}

let loaded: { readonly addon: Addon; readonly path: string } | undefined;

/**
 * The addon, loaded at the first call from the first of {@link addonPlaces} that has it.
 *
 * @throws `VaeError` `"native"` that names every place tried and what was wrong there
 */
export function loadAddon(): Addon {
  return load().addon;
}

/** The file that the addon was loaded from. */
export function addonPath(): string {
  return load().path;
}

function load(): { readonly addon: Addon; readonly path: string } {
  if (loaded) return loaded;
  const { paths, bundled } = addonPlaces();
  const failures: { readonly place: string; readonly problem: string; readonly cause?: unknown }[] = [];
  for (const path of paths) {
    if (!isAbsolute(path)) {
      failures.push({ place: path, problem: "not installed" });
      continue;
    }
    try {
      // Resolved from the addon itself: bundlers may have taken away where this module stands.
      const addon: Addon = createRequire(pathToFileURL(path))(path);
      loaded = { addon, path };
      return loaded;
    } catch (cause) {
      const missing = codeOf(cause) === "MODULE_NOT_FOUND";
      failures.push({ place: path, problem: missing ? "no such file" : messageOf(cause), cause });
    }
  }
  throw new VaeError({
    code: "native",
    operation: "loading the native addon",
    problem: `it could not be loaded on ${process.platform}-${process.arch}, Node ${process.version}; tried\n${failures
      .map(({ place, problem }) => `    ${place}: ${problem}`)
      .join("\n")}`,
    hint: bundled ? BUNDLED_HINT : HINT,
    cause: failures.find(({ cause }) => cause !== undefined && codeOf(cause) !== "MODULE_NOT_FOUND")?.cause,
  });
}

const HINT =
  "in a clone, build it with `npm run build:native` (needs CMake and a C++17 compiler); where the package is installed, see that optional dependencies are; or name a built addon in NODE_VAE_ADDON";

const BUNDLED_HINT =
  'this program was bundled, and a native addon cannot be: mark node-vae as external (esbuild --external:node-vae, external: ["node-vae"] elsewhere) and install it beside the program, or copy node_vae.node beside the bundle, or name it in NODE_VAE_ADDON';

const CODES: ReadonlySet<string> = new Set<VaeErrorCode>([
  "plan",
  "disposed",
  "detached",
  "argument",
  "shape",
  "dtype",
  "device",
  "memory",
  "native",
] satisfies VaeErrorCode[]);

/** Calls the addon; what it throws becomes a `VaeError` with the addon's code. */
export function callNative<T>(operation: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw toVaeError(operation, error);
  }
}

/** The same for a promise of the addon. The call itself is made at once. */
export async function awaitNative<T>(operation: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw toVaeError(operation, error);
  }
}

function toVaeError(operation: string, error: unknown): unknown {
  if (error instanceof VaeError) return error;
  const named = codeOf(error);
  const code = CODES.has(named) ? (named as VaeErrorCode) : "native";
  const hint = code === "memory" ? { hint: "use a smaller batch, fewer rows at a time, or a smaller model" } : {};
  return new VaeError({ code, operation, problem: messageOf(error), ...hint, cause: error });
}
