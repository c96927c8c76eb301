// The only file that loads the addon. Everything the addon offers is typed here; nothing else knows its shape.

/** A device with its thread pool, queue and resident memory. Opaque. */
export type NativeContext = { readonly __context: unique symbol };
/** Memory that lives on the device between runs: weights, optimizer state, data sets. Opaque. */
export type NativeBuffer = { readonly __buffer: unique symbol };
/** A validated plan with its arena, bound to resident buffers. Opaque. */
export type NativeSession = { readonly __session: unique symbol };

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
  /** "done", "stopped" by stop(), or "diverged": a term was not finite, the weights are those before the step that made them so. */
  readonly status: "done" | "stopped" | "diverged";
  /** For "diverged": the step counter and the index of the term, and how many steps were taken back. */
  readonly divergedStep: number;
  readonly divergedTerm: number;
  readonly restoredStep: number;
  /** Nanoseconds per plan step when asked for, else empty. */
  readonly profile: Float64Array;
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
    readonly cuda: { readonly compiled: boolean; readonly devices: readonly string[]; readonly problem: string };
  };
  openContext(device: "cpu" | `cuda:${number}`, threads: number, tier: string): NativeContext;
  closeContext(context: NativeContext): void;
  allocate(context: NativeContext, dtype: "float32" | "int32" | "uint8", elements: number): NativeBuffer;
  release(buffer: NativeBuffer): void;
  /** Copies into the buffer at an element offset, behind every run already queued. */
  write(buffer: NativeBuffer, offset: number, data: HostArray): Promise<void>;
  /** Copies the whole buffer out, behind every run already queued. */
  read(buffer: NativeBuffer): Promise<HostArray>;
  compile(context: NativeContext, words: Int32Array, residents: readonly NativeBuffer[]): NativeSession;
  disposeSession(session: NativeSession): void;
  run(session: NativeSession, options: RunOptions): Promise<RunResult>;
  /** Asks the run in progress, and those queued behind it, to end after the step they are in. */
  stop(session: NativeSession): void;
  memory(session: NativeSession): { readonly arena: number; readonly scratch: number; readonly residents: number };
  /** GFLOP/s of register-only FMAs and of the GEMM microkernel in L1, on one thread, for the given seconds each. */
  probe(tier: string, seconds: number): { readonly fma: number; readonly l1: number };
}
