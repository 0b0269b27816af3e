import { expect, test } from "bun:test";
import { exposition, Histogram } from "./exposition.ts";

test("each metric with its help and type, labels and help escaped", () => {
  expect(
    exposition([
      {
        name: "weft_things",
        type: "gauge",
        help: "Things\\of a\nkind.",
        measurements: [{ value: 1.5 }, { labels: { a: 'x"y\\z\n', b: "" }, value: Number.POSITIVE_INFINITY }],
      },
      { name: "weft_none", type: "gauge", help: "None.", measurements: [] },
      { name: "weft_runs_total", type: "counter", help: "Runs.", measurements: [{ value: 0 }] },
    ]),
  ).toBe(
    [
      "# HELP weft_things Things\\\\of a\\nkind.",
      "# TYPE weft_things gauge",
      "weft_things 1.5",
      'weft_things{a="x\\"y\\\\z\\n",b=""} +Inf',
      "# HELP weft_runs_total Runs.",
      "# TYPE weft_runs_total counter",
      "weft_runs_total 0",
      "",
    ].join("\n"),
  );
});

test("a histogram's buckets add up", () => {
  const histogram = new Histogram([0.1, 1]);
  for (const seconds of [0.05, 0.1, 0.5, 7]) histogram.observe(seconds);
  const measurements = histogram.measurements({ command: "ADD" });
  expect(measurements.map((m) => [m.suffix, m.labels?.["le"], m.value])).toEqual([
    ["_bucket", "0.1", 2],
    ["_bucket", "1", 3],
    ["_bucket", "+Inf", 4],
    ["_sum", undefined, 7.65],
    ["_count", undefined, 4],
  ]);
});
