// Which columns of a file are used, and as what.
import { describe, VaeError } from "../errors.js";
import { suggestion } from "../graph/arguments.js";
import { CategoryColumn, type CellRules, type Column, LabelColumn, NumberColumn } from "./columns.js";
import type { Layout } from "./csv-options.js";
import { isCategoryColumn } from "./csv-preparation.js";
import type { Source } from "./files.js";

/** A column in use. */
export interface UsedColumn<Kind extends Column> {
  /** Its place in a record of the file. */
  readonly index: number;
  readonly column: Kind;
}

/** The columns in use, in the order of the result, and the label beside them. */
export interface UsedColumns {
  readonly features: readonly UsedColumn<NumberColumn | CategoryColumn>[];
  readonly label: UsedColumn<LabelColumn> | undefined;
}

/** Names that are looked at for a suggestion, and names that a message lists. */
const COMPARED_NAMES = 2000;
const LONGEST_COMPARED = 64;
const LISTED_NAMES = 8;

/** @throws VaeError `"argument"` for names that the file does not have, or that contradict each other */
export function useColumns(source: Source, names: readonly string[], indexOf: ReadonlyMap<string, number>, layout: Layout): UsedColumns {
  const wrong = (parts: { readonly problem?: string; readonly expected?: string; readonly received?: string; readonly hint?: string }) =>
    new VaeError({ code: "argument", operation: source.operation, ...parts });
  const place = (name: string): number => {
    const index = indexOf.get(name);
    if (index !== undefined) return index;
    const near = suggestion(name, names.filter(({ length }) => length <= LONGEST_COMPARED).slice(0, COMPARED_NAMES));
    throw wrong({
      problem: `${source.path}: no column ${describe(name)}`,
      expected: listed(names),
      hint: `${near}a header in one piece means another delimiter; without a header line pass { header: false }`,
    });
  };
  const { like, columns, categorical } = layout;
  const rules: CellRules = layout;
  const labelName = layout.label ?? (like?.label && indexOf.has(like.label.name) ? like.label.name : undefined);
  const label =
    labelName === undefined
      ? undefined
      : {
          index: place(labelName),
          column: new LabelColumn(labelName, rules, like?.label?.names),
        };
  if (like !== undefined) {
    const features = like.columns.map((column) => {
      const known = isCategoryColumn(column) ? column.categories : undefined;
      const { name } = column;
      return { index: place(name), column: known === undefined ? new NumberColumn(name, rules) : new CategoryColumn(name, rules, known) };
    });
    return { features, label };
  }
  const used = columns ?? names.filter((name) => name !== labelName);
  if (used.length === 0) throw wrong({ expected: "at least one column beside the label", received: "none" });
  if (columns !== undefined) {
    if (labelName !== undefined && columns.includes(labelName)) {
      throw wrong({
        problem: `the label ${describe(labelName)} is among the columns`,
        hint: "a model would be given the class of each row: leave it out of columns, or leave label out",
      });
    }
    const repeated = firstRepeated(columns);
    if (repeated !== undefined) throw wrong({ expected: "columns to have different names", received: `${describe(repeated)} twice` });
  }
  const texts = new Set(categorical);
  checkCategorical();
  const features = used.map((name) => ({
    index: place(name),
    column: texts.has(name) ? new CategoryColumn(name, rules) : new NumberColumn(name, rules),
  }));
  return { features, label };

  function checkCategorical(): void {
    if (categorical.length === 0) return;
    const among = new Set(used);
    const unused = categorical.find((name) => !among.has(name));
    if (unused === undefined) return;
    if (unused === labelName) {
      throw wrong({
        problem: `the label ${describe(unused)} is among the categorical columns`,
        hint: "a label may be text as it is: leave it out of categorical",
      });
    }
    place(unused);
    throw wrong({ expected: `the categorical column ${describe(unused)} among the columns in use`, received: listed(used) });
  }
}

/** The first name that was there before. */
export function firstRepeated(names: Iterable<string>): string | undefined {
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) return name;
    seen.add(name);
  }
  return undefined;
}

function listed(names: readonly string[]): string {
  const shown = names
    .slice(0, LISTED_NAMES)
    .map((name) => describe(name))
    .join(", ");
  return names.length > LISTED_NAMES ? `${shown}, … (${names.length} in all)` : shown;
}
