import { describe, expect, test } from "bun:test";
import { type ProbeKind, type ProbeState, portOf, probed, UNKNOWN } from "./probe-state.ts";

describe("what answers come to", () => {
  const result = (kind: ProbeKind, answers: string, numbers: object = {}): (boolean | undefined)[] => {
    let state: ProbeState = UNKNOWN;
    return [...answers].map((answer) => {
      state = probed(state, kind, numbers, answer === "+");
      return state.result;
    });
  };
  const [yes, no, none] = [true, false, undefined];

  test.each([
    ["readiness", "+", {}, [yes]],
    ["readiness", "---", {}, [none, none, no]],
    ["readiness", "++", { successThreshold: 2 }, [none, yes]],
    ["readiness", "+--+-+---", {}, [yes, yes, yes, yes, yes, yes, yes, yes, no]],
    ["readiness", "---+", { successThreshold: 2 }, [none, none, no, no]],
    ["liveness", "--+---", {}, [none, none, yes, yes, yes, no]],
    ["liveness", "-", { failureThreshold: 1 }, [no]],
    // Only readiness may ask for more than one success.
    ["startup", "+", { successThreshold: 3 }, [yes]],
  ] as const)("%s: %s %j", (kind, answers, numbers, expected) => {
    expect(result(kind, answers, numbers)).toEqual([...expected]);
  });
});

test("ports by number and by name", () => {
  const container = { name: "c", image: "x", ports: [{ name: "http", containerPort: 8080 }] };
  expect([80, "81", "http", "none"].map((port) => portOf(container, port))).toEqual([
    80,
    81,
    8080,
    undefined,
  ]);
});
