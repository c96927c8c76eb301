import { Child } from "./child.js";
import { program } from "./contestants.js";

/** GFLOP/s: register-only fused multiply-adds, and the GEMM microkernel on panels in the first-level cache. */
export interface Peak {
  readonly fma: number;
  readonly l1: number;
}

/**
 * The machine's own limits at this moment. Every thread is a process that waits between probes; several probe at once, so
 * that processors which share a core, or a quota, show it.
 */
export class Probes {
  readonly #children: readonly Child[];
  readonly #seconds: number;

  constructor(threads: number, seconds: number) {
    this.#children = Array.from({ length: threads }, () => new Child(process.execPath, [program("probe")]));
    this.#seconds = seconds;
  }

  /** The sum over as many threads at once. */
  async peak(tier: string, threads: number): Promise<Peak> {
    const question = { type: "probe", tier, seconds: this.#seconds } as const;
    const answers = await Promise.all(this.#children.slice(0, threads).map((child) => child.ask(question, "probed", 60)));
    return { fma: sum(answers.map(({ fma }) => fma)), l1: sum(answers.map(({ l1 }) => l1)) };
  }

  exit(): void {
    for (const child of this.#children) child.exit();
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
