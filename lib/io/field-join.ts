// Fields of several data sets, one behind the other. Categories belong together by name, never by number alone.
import { describe, VaeError } from "../errors.js";
import { isInt32Array } from "../graph/kinds.js";
import { sameShape, showShape, sizeOf } from "../graph/tensor.js";
import { dtypeOf } from "../runtime/feed.js";
import { type BesideX, checkCategories, type Field, type FieldArray } from "./field.js";
import { zerosLike } from "./field-array.js";

/** What has fields, labels among them, and what messages call it: a data set, a batch. */
interface FieldOwner {
  readonly name: string;
  readonly rows: number;
  readonly fields: Readonly<Record<string, Field>>;
}

/** Values that are copied between two turns of the event loop. */
const VALUES_PER_TURN = 2 ** 21;

/**
 * What the rows of several data sets have beside x, one behind the other: labels, and all fields by name, each joined as by
 * {@link joinField}. It stops after every 2²¹ values, so that the event loop may have its turn.
 *
 * @throws VaeError `"data"` for a field that only some have
 */
export function* joinBesideX(parts: readonly BesideX[], operation: string): Generator<void, Omit<BesideX, "rows" | "name">> {
  const owners = parts.map(({ name, rows, labels, labelNames, fields }): FieldOwner => {
    const label: Field | undefined = labels && { data: labels, shape: [], names: labelNames };
    return { name: name ?? "Dataset", rows, fields: { ...fields, ...(label === undefined ? {} : { label }) } };
  });
  const { label, ...fields } = yield* joinFields(owners, operation);
  const labels = label !== undefined && isInt32Array(label.data) ? label.data : undefined;
  const beside = { labels, labelNames: label?.names };
  return parts.every((part) => part.fields === undefined) ? beside : { ...beside, fields };
}

function* joinFields(owners: readonly FieldOwner[], operation: string): Generator<void, Readonly<Record<string, Field>>> {
  const [first] = owners;
  for (const owner of owners) {
    checkSameNames(first!, owner, operation);
    checkSameNames(owner, first!, operation);
  }
  const joined: [string, Field][] = [];
  for (const name of Object.keys(first!.fields)) joined.push([name, yield* joinField(name, owners, operation)]);
  return Object.fromEntries(joined);
}

/**
 * One field of all owners. The numbers of the first one's categories stay, and names that come new behind it get the next numbers.
 *
 * @throws VaeError `"shape"`, `"dtype"`, `"data"` where it is not the same field in all, or a category has no name
 */
function* joinField(name: string, owners: readonly FieldOwner[], operation: string): Generator<void, Field> {
  const first = owners[0]!.fields[name]!;
  const numbers = new Map<string, number>();
  for (const owner of owners) {
    checkSameKind(name, owners[0]!, owner, operation);
    for (const category of owner.fields[name]!.names ?? []) if (!numbers.has(category)) numbers.set(category, numbers.size);
  }
  const rows = owners.reduce((sum, owner) => sum + owner.rows, 0);
  const data = zerosLike(first.data, rows * sizeOf(first.shape), operation);
  let filled = 0;
  for (const owner of owners) {
    const field = owner.fields[name]!;
    const numberOf = field.names?.map((category) => numbers.get(category)!);
    for (let begin = 0; begin < field.data.length; begin += VALUES_PER_TURN) {
      const end = Math.min(begin + VALUES_PER_TURN, field.data.length);
      checkCategories(field, begin, end, { name, rows: owner.rows, owner: owner.name, operation });
      copyValues(field.data.subarray(begin, end), data.subarray(filled, filled + end - begin), numberOf);
      const turns = Math.floor((filled + end - begin) / VALUES_PER_TURN) - Math.floor(filled / VALUES_PER_TURN);
      filled += end - begin;
      if (turns > 0) yield;
    }
  }
  return { data, shape: first.shape, ...(first.names === undefined ? {} : { names: [...numbers.keys()] }) };
}

function copyValues(source: FieldArray, target: FieldArray, numberOf: readonly number[] | undefined): void {
  if (numberOf === undefined) target.set(source);
  else for (let index = 0; index < source.length; index++) target[index] = numberOf[source[index]!]!;
}

function checkSameNames(having: FieldOwner, lacking: FieldOwner, operation: string): void {
  const name = Object.keys(having.fields).find((field) => !Object.hasOwn(lacking.fields, field));
  if (name === undefined) return;
  throw new VaeError({
    code: "data",
    operation,
    problem: `${having.name} has the field ${describe(name)} and ${lacking.name} has none`,
    expected: "the same fields everywhere",
    hint: "add the missing field, with one value for all rows: withField(rows, name, value)",
  });
}

function checkSameKind(name: string, first: FieldOwner, other: FieldOwner, operation: string): void {
  const [wanted, found] = [first.fields[name]!, other.fields[name]!];
  const problem = `the field ${describe(name)} of ${other.name}`;
  if (!sameShape(wanted.shape, found.shape)) {
    const expected = `rows of ${showShape(wanted.shape)}, as in ${first.name}`;
    throw new VaeError({ code: "shape", operation, problem, expected, received: showShape(found.shape) });
  }
  const [expected, received] = [dtypeOf(wanted.data), dtypeOf(found.data)];
  if (expected !== received) {
    throw new VaeError({ code: "dtype", operation, problem, expected: `${expected}, as in ${first.name}`, received });
  }
  if ((wanted.names === undefined) === (found.names === undefined)) return;
  const inWords = (field: Field): string => (field.names === undefined ? "numbers without names" : "categories with names");
  throw new VaeError({ code: "data", operation, problem, expected: `${inWords(wanted)}, as in ${first.name}`, received: inWords(found) });
}

/** What a generator returns, without turns of the event loop in between. */
export function atOnce<T>(steps: Generator<void, T>): T {
  let step = steps.next();
  while (step.done !== true) step = steps.next();
  return step.value;
}
