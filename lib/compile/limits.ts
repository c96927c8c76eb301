// What native code can address (native/plan_check.h). It takes a plan beyond that for a corrupt one; here it is the caller's own
// sizes that are too large, and are named.
import { VaeError } from "../errors.js";
import { type MemoryNeeds, memoryError, showBytes } from "../graph/bytes.js";
import type { Plan, PlanBuffer, PlanStep } from "./plan.js";

/** Elements of a buffer, and bytes of an arena. */
const MOST_ELEMENTS = 2 ** 40;
/** Positions of a step's space, with the sums at each of them. */
const MOST_ITERATIONS = 2 ** 42;
/** Columns of a product, channels and filters of a convolution: kernels keep a record for every few dozen. */
const MOST_COLUMNS = 2 ** 26;
/** Numbers of one draw. */
const MOST_DRAWN = 2 ** 34;
/** Rows, positions and settings are counted in 32 bits. */
const MOST_INDEX = 2 ** 31 - 1;
const MOST_OPERANDS = 1024;
const MOST_INSTRUCTIONS = 2048;
const MOST_TERMS = 2 ** 16;

/** What a limit counts, how much there is of it, and how much there may be. */
type Measured = readonly [what: string, size: number, most: number];

/**
 * Throws for a plan of more than native code can address.
 *
 * @param request for whom, and what it needs in all
 * @throws VaeError `"memory"` where the buffers are too large, `"shape"` where a step runs over too much, `"argument"` for too
 *   many terms or operands
 */
export function checkPlanSize(
  { arenaBytes, buffers, terms, steps }: Plan,
  { operation, hint, needs }: { readonly operation: string; readonly hint: string; readonly needs: MemoryNeeds },
): void {
  const largest = buffers.reduce<PlanBuffer | undefined>((a, b) => (a === undefined || b.elements > a.elements ? b : a), undefined);
  if (!(arenaBytes <= MOST_ELEMENTS) || (largest !== undefined && !(largest.elements <= MOST_ELEMENTS))) {
    throw memoryError(operation, { needs, available: `${showBytes(MOST_ELEMENTS)} is the most that can be addressed at once`, hint });
  }
  refuse(operation, "argument", "the graph", hint, ["terms", terms.names.length, MOST_TERMS]);
  for (const step of steps) {
    const where = `the step "${step.label}"`;
    refuse(operation, "argument", where, "split the expression: compute a part of it in a graph of its own", [
      "operands",
      step.operands.length,
      MOST_OPERANDS,
    ]);
    refuse(operation, "argument", where, "split the expression: compute a part of it in a graph of its own", [
      "instructions",
      step.program.length,
      MOST_INSTRUCTIONS,
    ]);
    for (const measured of sizesOf(step)) refuse(operation, "shape", where, hint, measured);
  }
}

function refuse(operation: string, code: "shape" | "argument", where: string, hint: string, [what, size, most]: Measured): void {
  if (size <= most) return;
  throw new VaeError({ code, operation, problem: `${where} has ${size} ${what}, and the most is ${most}`, hint });
}

/** The sizes of a step that a limit stands on. */
function sizesOf(step: PlanStep): readonly Measured[] {
  const { kernel, attributes, space } = step;
  const [rows, columns] = space.slice(-2) as [number, number];
  const positions = product(space);
  const settings = attributes.reduce((largest, value) => Math.max(largest, value), 0);
  const all: Measured[] = [["positions", positions, MOST_ITERATIONS]];
  // A stream of noise is a whole word; all others are counts and settings.
  if (kernel === "random_uniform" || kernel === "random_normal") return [...all, ["numbers in one draw", columns, MOST_DRAWN]];
  if (kernel === "shuffled_indices") return [...all, ["rows", Math.max(attributes[0]!, columns), MOST_INDEX]];
  // The strides of a product's factors are attributes, and wide as others are in operands.
  const sizes: Measured = ["rows, columns or other sizes along one axis", settings, MOST_INDEX];
  if (kernel === "matmul") return [...all, sizes, ["multiplications", positions * attributes[0]!, MOST_ITERATIONS], columnsOf(columns)];
  if (kernel === "sort") return [...all, ["values in a row", columns, MOST_INDEX]];
  if (kernel === "triangular_solve") return [...all, ["values in its matrices", space[3]! * rows * rows, MOST_ITERATIONS]];
  if (kernel === "fold" || kernel.startsWith("conv2d")) return [...all, sizes, ...convolutionSizes(step)];
  return [...all, sizes];
}

function columnsOf(columns: number): Measured {
  return ["columns", columns, MOST_COLUMNS];
}

/** The attributes of a convolution are listed in native/plan.h. */
function convolutionSizes({ attributes }: PlanStep): readonly Measured[] {
  const [images, height, width, channels, outputHeight, outputWidth, filters, kernelHeight, kernelWidth] = attributes as number[];
  const groups = attributes[15]!;
  const taps = product([kernelHeight!, kernelWidth!]);
  const output = product([images!, outputHeight!, outputWidth!, filters!]);
  const inner = channels! / groups;
  return [
    ["channels", channels!, MOST_COLUMNS],
    ["filters", filters!, MOST_COLUMNS],
    ["values in its images", product([images!, height!, width!, channels!]), MOST_ELEMENTS],
    ["weights", taps * inner * filters!, MOST_ELEMENTS],
    ["values in its result", output, MOST_ELEMENTS],
    ["values in its windows", output * taps, MOST_ITERATIONS],
    ["multiplications", output * taps * inner, MOST_ITERATIONS],
  ];
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total * size, 1);
}
