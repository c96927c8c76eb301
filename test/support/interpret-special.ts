// The kernels without a program, one plain loop each: see interpret.ts.
import type { PlanStep } from "../../lib/compile/plan.js";

type Read = (i: number) => number;

/** The whole output of a step, row-major, from its contiguous inputs. */
export function special(step: PlanStep, first: Read, second: Read): Float64Array {
  const [outer, rows, columns] = step.space.slice(3) as [number, number, number];
  const result = new Float64Array(outer * rows * columns);
  const at = (o: number, r: number, c: number) => (o * rows + r) * columns + c;
  switch (step.kernel) {
    case "fold":
      return fold(step, first, result);
    case "cumulative_sum": {
      const [reverse, exclusive] = step.attributes as [number, number];
      for (let o = 0; o < outer; o++) {
        for (let c = 0; c < columns; c++) {
          let sum = 0;
          for (let i = 0; i < rows; i++) {
            const r = reverse ? rows - 1 - i : i;
            const value = first(at(o, r, c));
            result[at(o, r, c)] = exclusive ? sum : sum + value;
            sum += value;
          }
        }
      }
      return result;
    }
    case "sort": {
      const [descending, indices] = step.attributes as [number, number];
      for (let r = 0; r < outer * rows; r++) {
        const order = Array.from({ length: columns }, (_, c) => c);
        const value = (c: number) => first(r * columns + c);
        order.sort((a, b) => (descending ? value(b) - value(a) : value(a) - value(b)) || a - b);
        order.forEach((c, i) => {
          result[r * columns + i] = indices ? c : value(c);
        });
      }
      return result;
    }
    case "cholesky":
      for (let o = 0; o < outer; o++) {
        for (let i = 0; i < rows; i++) {
          for (let j = 0; j <= i; j++) {
            let sum = first(at(o, i, j));
            for (let k = 0; k < j; k++) sum -= result[at(o, i, k)]! * result[at(o, j, k)]!;
            result[at(o, i, j)] = i === j ? Math.sqrt(sum) : sum / result[at(o, j, j)]!;
          }
        }
      }
      return result;
    case "triangular_solve": {
      const transpose = step.attributes[0] === 1;
      const l = (o: number, i: number, j: number) => first((o * rows + (transpose ? j : i)) * rows + (transpose ? i : j));
      for (let o = 0; o < outer; o++) {
        for (let c = 0; c < columns; c++) {
          for (let n = 0; n < rows; n++) {
            const i = transpose ? rows - 1 - n : n;
            let sum = second(at(o, i, c));
            for (let m = 0; m < n; m++) {
              const k = transpose ? rows - 1 - m : m;
              sum -= l(o, i, k) * result[at(o, k, c)]!;
            }
            result[at(o, i, c)] = sum / l(o, i, i);
          }
        }
      }
      return result;
    }
    default:
      throw new Error(`no kernel ${step.kernel}`);
  }
}

function fold(step: PlanStep, windows: Read, result: Float64Array): Float64Array {
  const [n, h, w, c, oh, ow, , kh, kw, sh, sw, , , dh, dw] = step.attributes as number[] & { length: 16 };
  let from = 0;
  for (let image = 0; image < n!; image++) {
    for (let oy = 0; oy < oh!; oy++) {
      for (let ox = 0; ox < ow!; ox++) {
        for (let ky = 0; ky < kh!; ky++) {
          for (let kx = 0; kx < kw!; kx++) {
            const [y, x] = [oy * sh! + ky * dh!, ox * sw! + kx * dw!];
            for (let channel = 0; channel < c!; channel++) result[((image * h! + y) * w! + x) * c! + channel]! += windows(from++);
          }
        }
      }
    }
  }
  return result;
}
