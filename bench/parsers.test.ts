import { describe, expect, test } from "bun:test";
import { isInvalid, WeftError } from "@weft/base";
import { parseRuleset } from "./agent.ts";
import { parseCpuModel } from "./machine.ts";
import { DEFAULT_OPTIONS, parseBenchOptions } from "./options.ts";
import {
  parsePeak,
  parseRollup,
  parseStat,
  parseStatm,
  readPeak,
  readResident,
  readRollup,
  readStat,
} from "./proc.ts";
import { type Figure, ratioOf, renderReport, significant } from "./report.ts";
import { ownerOf } from "./session/stale.ts";
import { parseIperf } from "./traffic/measure.ts";

function refused(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    expect(isInvalid(error)).toBe(true);
    return;
  }
  throw new Error("was accepted");
}

describe("options", () => {
  test("nothing means every suite", () => {
    expect(parseBenchOptions([])).toEqual(DEFAULT_OPTIONS);
  });
  test("modes of kube-proxy", () => {
    expect(parseBenchOptions(["kube-proxy", "--peer", "iptables"])).toMatchObject({ peer: "iptables" });
    refused(() => parseBenchOptions(["--peer", "ipvs"]));
  });
  test("suites in any order, each once", () => {
    const options = parseBenchOptions(["cni", "--pods", "5", "agent", "cni", "--json", "--burst", "7"]);
    expect(options.suites).toEqual(["cni", "agent"]);
    expect(options).toMatchObject({ pods: 5, burst: 7, json: true, rounds: 0 });
  });
  test.each([
    ["--pods"],
    ["--pods 0"],
    ["--nodes 1"],
    ["--pods 1.5"],
    ["--pods 1e2"],
    ["--burst 999"],
    ["--what"],
    ["all"],
    ["--weft"],
  ])("refuses %s", (words) => refused(() => parseBenchOptions(words.split(" "))));
});

describe("/proc", () => {
  test("stat, with a name that tries to confuse", () => {
    const fields = [
      "S",
      "77",
      ...Array.from({ length: 9 }, () => "0"),
      "150",
      "50",
      "300",
      "100",
      "20",
      "0",
      "9",
    ];
    expect(parseStat(`4 (a) b) (c) ${fields.join(" ")} 1 2 3\n`)).toEqual({
      parent: 77,
      cpuSeconds: 2,
      childrenCpuSeconds: 4,
      threads: 9,
    });
  });
  test("statm", () => {
    expect(parseStatm("900 100 60 1 0 2 0\n")).toEqual({ resident: 409_600, anonymous: 163_840 });
  });
  test("smaps_rollup", () => {
    const text = "0-1 ---p 0 0:0 0 [rollup]\nRss:     123 kB\nPss:      45 kB\nPss_Anon: 1 kB\n";
    expect(parseRollup(text, "Rss")).toBe(123 * 1024);
    expect(parseRollup(text, "Pss")).toBe(45 * 1024);
  });
  test("other texts", () => {
    for (const text of ["", "1 (x)", "1 (x) S a b"]) refused(() => parseStat(text));
    for (const text of ["", "1", "1 2 x"]) refused(() => parseStatm(text));
    refused(() => parseRollup("Rss: 1 MB", "Rss"));
  });
  test("of this process, as the runtime sees it", () => {
    const { resident, anonymous } = readResident(process.pid);
    expect(resident).toBeGreaterThan(anonymous);
    expect(parsePeak("Name:\tx\nVmHWM:\t  170000 kB\nVmRSS:\t 1 kB\n")).toBe(170_000 * 1024);
    refused(() => parsePeak("VmRSS:\t 1 kB\n"));
    expect(readPeak(process.pid)).toBeGreaterThanOrEqual(readRollup(process.pid).anonymous);
    expect(readRollup(process.pid).rss).toBeGreaterThanOrEqual(readRollup(process.pid).pss);
    expect(readStat(process.pid).parent).toBe(process.ppid);
  });
});

test("iperf3", () => {
  expect(parseIperf('{"end":{"sum_received":{"bits_per_second":2.5e9}}}')).toBe(2.5e9);
  expect(() => parseIperf('{"error":"unable to connect"}')).toThrow("unable to connect");
  for (const text of ["", "{}", '{"end":{"sum_received":{"bits_per_second":0}}}'])
    refused(() => parseIperf(text));
});

test("nft", () => {
  const ruleset = {
    nftables: [{ metainfo: {} }, { rule: {} }, { rule: {} }, { set: { elem: [1, 2] } }, { set: {} }],
  };
  expect(parseRuleset(JSON.stringify(ruleset))).toEqual({ rules: 2, elements: 2 });
  expect(() => parseRuleset("{}")).toThrow(WeftError);
});

test("the CPU's model", () => {
  expect(parseCpuModel("processor\t: 0\nmodel name\t: Some CPU @ 3GHz\nflags : x\n")).toBe("Some CPU @ 3GHz");
  expect(parseCpuModel("processor: 0\n")).toBe("CPU of unknown model");
});

test("who made a namespace", () => {
  expect(ownerOf("weft-b-123-node")).toBe(123);
  for (const name of ["weft-b-", "weft-b-x-1", "weft-b-0-x", "weft-b-12", "weft-t-12-x", "aweft-b-12-x"]) {
    expect(ownerOf(name)).toBeUndefined();
  }
});

describe("report", () => {
  const figure: Figure = { name: "ADD", unit: "ms", weft: 5, peer: 10, better: "lower" };
  test("ratio", () => {
    expect(ratioOf(figure)).toBe(0.5);
    expect(ratioOf({ ...figure, peer: undefined })).toBeUndefined();
    expect(ratioOf({ ...figure, peer: 0 })).toBeUndefined();
  });
  test("digits", () => {
    expect([0, 5, 0.012345, 12.345, 123.45, 1234.5].map(significant)).toEqual([
      "0",
      "5",
      "0.0123",
      "12.3",
      "123",
      "1235",
    ]);
  });
  test("shows both sides, the machine and the command", () => {
    const text = renderReport({
      suite: "cni",
      peer: "somebody 1.0",
      figures: [figure, { ...figure, name: "without", peer: undefined }],
      notes: ["a note"],
      machine: { cpu: "CPU", cores: 2, kernel: "6.1", versions: [["weft", "0"]] },
      command: "bun run it",
      date: "2026-01-01",
    });
    for (const part of [
      "somebody 1.0",
      "0.50x",
      "a note",
      "CPU, 2 cores, Linux 6.1",
      "weft 0",
      "bun run it",
    ]) {
      expect(text).toContain(part);
    }
    expect(text).toMatch(/^without +5 +- +- +ms +lower$/m);
  });
});
