/** The package's three entries. */
export interface Library {
  readonly index: object;
  readonly ops: object;
  readonly graph: object;
}

export interface HostileOptions {
  readonly calls: number;
  readonly seed: number;
  /** A folder to save into. */
  readonly folder: string;
  /** A part of a function's name, to call what has it alone. */
  readonly only?: string;
  readonly onCall?: (call: string) => void;
  readonly onError?: (name: string, error: unknown) => void;
}

export function hostileCalls(
  library: Library,
  options: HostileOptions,
): Promise<{
  readonly failures: readonly string[];
  readonly counts: ReadonlyMap<string, { readonly calls: number; readonly successes: number }>;
  readonly slow: readonly { readonly call: string; readonly seconds: number; readonly cpu: number }[];
}>;
