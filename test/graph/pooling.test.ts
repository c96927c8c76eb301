// Pooling, windows and upsampling: against plain loops, and what cannot be.
import { describe, expect, test } from "vitest";
import { VaeError } from "../../lib/errors.js";
import {
  evaluate,
  fold,
  grad,
  input,
  type PoolOptions,
  poolAverage2d,
  poolMax2d,
  sizeOf,
  sum,
  type Tensor,
  topological,
  unfold,
  upsampleBilinear2d,
  upsampleNearest2d,
} from "../../lib/graph/index.js";
import { weights } from "../support/gradients.js";

const images = (...shape: [number, number, number, number]) => input("images", shape);

function filled(x: Tensor) {
  const data = weights(sizeOf(x.shape), 1);
  return { data, feeds: new Map([[x, data]]) };
}

describe("pools are the maximum and the average of the pixels in reach", () => {
  const cases: [number, number, number, PoolOptions][] = [
    [6, 6, 2, {}],
    [7, 5, 3, {}],
    [7, 7, 3, { stride: 2 }],
    [8, 7, 3, { stride: 2, padding: "same" }],
    [5, 6, 3, { stride: 1, padding: "same" }],
    [5, 5, 2, { stride: 2, padding: "same" }],
    [6, 4, 4, { stride: 3, padding: 2 }],
    [
      5,
      4,
      3,
      {
        stride: 1,
        padding: [
          [2, 0],
          [0, 1],
        ],
      },
    ],
    [9, 8, 2, { stride: 3 }],
  ];
  test.each(cases)("%i by %i, size %i, %j", (height, width, size, options) => {
    const x = images(2, height, width, 3);
    const { data, feeds } = filled(x);
    const largest = poolMax2d(x, size, options);
    const [maxima, averages] = evaluate([largest, poolAverage2d(x, size, options)], feeds);
    const { stride = size, padding = "valid" } = options;
    // Where window 0 begins: "same" puts the smaller half of what is missing before.
    const before = [height, width].map((extent, axis) => {
      if (padding === "same")
        return Math.floor(Math.max((Math.ceil(extent / (stride as number)) - 1) * (stride as number) + size - extent, 0) / 2);
      if (padding === "valid") return 0;
      return typeof padding === "number" ? padding : padding[axis]![0];
    });
    const [, rows, columns] = largest.shape as unknown as [number, number, number];
    let place = 0;
    for (let n = 0; n < 2; n++) {
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          for (let channel = 0; channel < 3; channel++, place++) {
            const seen: number[] = [];
            for (let i = 0; i < size; i++) {
              for (let j = 0; j < size; j++) {
                const [h, w] = [row * (stride as number) + i - before[0]!, column * (stride as number) + j - before[1]!];
                if (h >= 0 && h < height && w >= 0 && w < width) seen.push(data[((n * height + h) * width + w) * 3 + channel]!);
              }
            }
            expect(maxima![place]).toBe(Math.max(...seen));
            expect(averages![place]).toBeCloseTo(seen.reduce((total, pixel) => total + pixel) / seen.length, 12);
          }
        }
      }
    }
    expect(place).toBe(maxima!.length);
  });
});

test("windows side by side need no fold for their gradient, overlapping ones do", () => {
  const ops = (options: PoolOptions) => {
    const x = images(1, 6, 6, 2);
    return topological(grad(sum(poolMax2d(x, 2, options)), [x])).map(({ op }) => op);
  };
  expect(ops({})).not.toContain("fold");
  expect(ops({ stride: 1 })).toContain("fold");
});

test("fold of unfold counts in how many windows a pixel is", () => {
  const x = images(1, 4, 3, 1);
  const folded = fold(unfold(x, { kernelSize: [3, 1], dilation: 1 }), { inputSize: [4, 3] });
  const [counts] = evaluate([folded], new Map([[x, Array(12).fill(1)]]));
  expect([...counts!]).toEqual([1, 1, 1, 2, 2, 2, 2, 2, 2, 1, 1, 1]);
});

describe("upsampling", () => {
  test("bilinear is the triangle filter about half-pixel centres, the border repeated", () => {
    const [height, width, factor] = [3, 4, 3];
    const x = images(1, height, width, 1);
    const { data, feeds } = filled(x);
    const [result] = evaluate([upsampleBilinear2d(x, factor)], feeds);
    const pixel = (h: number, w: number) => data[Math.min(Math.max(h, 0), height - 1) * width + Math.min(Math.max(w, 0), width - 1)]!;
    for (let row = 0; row < height * factor; row++) {
      for (let column = 0; column < width * factor; column++) {
        const [y, z] = [(row + 0.5) / factor - 0.5, (column + 0.5) / factor - 0.5];
        const [h, w] = [Math.floor(y), Math.floor(z)];
        const [down, across] = [y - h, z - w];
        const top = (1 - across) * pixel(h, w) + across * pixel(h, w + 1);
        const bottom = (1 - across) * pixel(h + 1, w) + across * pixel(h + 1, w + 1);
        expect(result![row * width * factor + column]).toBeCloseTo((1 - down) * top + down * bottom, 12);
      }
    }
  });

  test("both keep constants and means, and factor 1 changes nothing", () => {
    const x = images(2, 3, 5, 2);
    const { data, feeds } = filled(x);
    for (const upsample of [upsampleNearest2d, upsampleBilinear2d]) {
      expect([...evaluate([upsample(x, 1)], feeds)[0]!]).toEqual([...data]);
      const [flat] = evaluate([upsample(x, [2, 4])], new Map([[x, Array(60).fill(0.7)]]));
      for (const value of flat!) expect(value).toBeCloseTo(0.7, 14);
      const [large] = evaluate([sum(upsample(x, 2))], feeds);
      expect(large![0]! / 4).toBeCloseTo(
        data.reduce((total, value) => total + value),
        10,
      );
    }
  });

  test("the average pool of the nearest upsampling is the image", () => {
    const x = images(1, 3, 2, 2);
    const { data, feeds } = filled(x);
    const [back] = evaluate([poolAverage2d(upsampleNearest2d(x, [3, 2]), [3, 2])], feeds);
    back!.forEach((value, i) => {
      expect(value).toBeCloseTo(data[i]!, 14);
    });
  });
});

describe("what cannot be says so", () => {
  const x = images(1, 6, 5, 2);
  test.each<[string, () => unknown, RegExp]>([
    [
      "a window larger than the image",
      () => poolMax2d(x, 7),
      /^maxPool2d: a 7×7 kernel .* the height, .* has 6.*images \[1, 6, 5, 2\]\n.*kernel of 6/,
    ],
    ["stride 0", () => poolAverage2d(x, 2, { stride: 0 }), /^averagePool2d: expected the stride .*received 0.*\n.*choice is 1/],
    ["windows of padding alone", () => poolMax2d(x, 2, { padding: 2 }), /^maxPool2d: .*windows of 2 that see no pixel.*\n.*at most 1/],
    [
      "no image",
      () => poolMax2d(input("x", [6, 5, 2]), 2),
      /^maxPool2d: expected images \[N, H, W, C\]; received \[6, 5, 2\]\n.*\[6, 5, 2, 1\] or \[1, 6, 5, 2\]/,
    ],
    ["a factor that is not whole", () => upsampleBilinear2d(x, 1.5), /^upsampleBilinear2d: expected the factor to be a whole number/],
    ["unfold", () => unfold(x, { kernelSize: [2, 6] }), /^unfold: a 2×6 kernel .* the width, .* has 5/],
    ["fold", () => fold(input("w", [1, 3, 3, 2, 2, 1]), { inputSize: [5, 4] }), /^fold: expected 4 by 3 windows .* 5 by 4; .*\n.*4 by 4/],
    ["fold's rank", () => fold(x, { inputSize: [5, 4] }), /^fold: expected windows \[N, OH, OW, kh, kw, C\]; received \[1, 6, 5, 2\]/],
  ])("%s", (_name, body, message) => {
    expect(body).toThrow(VaeError);
    expect(body).toThrow(message);
  });
});
