/** What can be shown without a cluster; ./bench/pods itself needs one, and minutes. */
import { expect, test } from "bun:test";
import { parseOptions } from "./options.ts";
import { parseSetups, setupsBetween } from "./plugins.ts";
import { figuresOf, shareOf } from "./report.ts";
import { Times } from "./watch.ts";

test("times: created at the first line, ready at the first that says so, whatever the parts", () => {
  const times = new Times();
  times.take("a\nb Pod", 1);
  times.take("Scheduled=True\na PodScheduled=True Ready=False\n", 2);
  expect(times.whole(2)).toBeUndefined();
  times.take("a PodScheduled=True Ready=True\n", 3);
  times.take("a PodScheduled=True Ready=True\nb Ready=True\n", 4);
  expect(times.whole(2)).toEqual([
    { created: 1, ready: 3 },
    { created: 2, ready: 4 },
  ]);
  expect(times.whole(1)).toBeUndefined();
});

test("setups are read from containerd's metrics", () => {
  const name = "containerd_cri_network_plugin_operations_duration_seconds_seconds";
  const text = `# TYPE ${name} histogram
${name}_bucket{operation_type="set_up_pod",le="0.005"} 1
${name}_sum{operation_type="set_up_pod"} 1.25
${name}_count{operation_type="set_up_pod"} 5
${name}_sum{operation_type="tear_down_pod"} 9
`;
  expect(parseSetups(text)).toEqual({ count: 5, seconds: 1.25 });
  expect(parseSetups("")).toEqual({ count: 0, seconds: 0 });
  expect(() => parseSetups(text.replace("1.25", "many"))).toThrow("no number");
  expect(setupsBetween({ count: 5, seconds: 1.25 }, { count: 7, seconds: 1.5 })).toEqual({
    count: 2,
    seconds: 0.25,
  });
});

test("figures: medians over the rounds, in seconds, and ADD's share", () => {
  const burst = (ms: number, add: number) => ({ starts: [ms, 3 * ms], whole: 4 * ms, add });
  expect(shareOf(burst(1000, 100))).toBe(5);
  const bursts = {
    weft: [burst(1000, 100), burst(2000, 100), burst(3000, 100)],
    peer: [burst(2000, 200), burst(4000, 200), burst(6000, 200)],
  };
  const figures = Object.fromEntries(figuresOf(bursts, 2).map((f) => [f.name, f]));
  expect(figures["pod created to Ready, p50"]).toMatchObject({ weft: 2, peer: 4, unit: "s" });
  expect(figures["pod created to Ready, p99"]).toMatchObject({ weft: 6, peer: 12 });
  expect(figures["burst of 2, all Ready"]).toMatchObject({ weft: 8, peer: 16, quartiles: [0.5, 0.5] });
  expect(figures["ADD, mean"]).toMatchObject({ weft: 100, peer: 200, unit: "ms" });
  expect(figures["ADD's share of a start"]).toMatchObject({ weft: 2.5, peer: 2.5, unit: "%" });
});

test("options", () => {
  expect(parseOptions([])).toEqual({ burst: 50, rounds: 5, json: false });
  expect(parseOptions(["--help"])).toBeUndefined();
  for (const words of [["--burst", "0"], ["--burst", "101"], ["--rounds", "x"], ["--pods"], ["more"]])
    expect(() => parseOptions(words)).toThrow();
});
