// The extremes of lists of any length: Math.max(...list) ends with a RangeError where a list is too long for the stack.

/** The largest of the numbers; minus infinity where there are none. */
export function greatest(numbers: Iterable<number>): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (const number of numbers) largest = Math.max(largest, number);
  return largest;
}

/** The smallest of the numbers; infinity where there are none. */
export function least(numbers: Iterable<number>): number {
  let smallest = Number.POSITIVE_INFINITY;
  for (const number of numbers) smallest = Math.min(smallest, number);
  return smallest;
}
