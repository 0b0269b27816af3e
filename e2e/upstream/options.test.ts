import { expect, test } from "bun:test";
import { parseOptions } from "./options.ts";

test("without words: all specs, Weft, both families", () => {
  expect(parseOptions([])).toEqual({
    network: "weft",
    backend: "auto",
    services: "kube-proxy",
    families: "dual",
    focus: "",
    skip: "",
    procs: 4,
    minutes: 40,
    hold: false,
  });
  expect(parseOptions(["--help"])).toBeUndefined();
});

test.each([
  [["--network", "bridge"], "--network"],
  [["--families", "ipx"], "--families"],
  [["--backend", "gre"], "--backend"],
  [["--services", "ipvs"], "--services"],
  [["--services", "weft", "--network", "reference"], "--services"],
  [["--focus", "("], "--focus"],
  [["--skip", "["], "--skip"],
  [["--procs", "0"], "--procs"],
  [["--procs", "1e3"], "--procs"],
  [["--timeout", "-1"], "--timeout"],
  [["--timeout", "9999"], "--timeout"],
  [["--unknown"], "--unknown"],
  [["Services"], "Services"],
])("%p is wrong use, and the message names it", (words, named) => {
  expect(() => parseOptions(words)).toThrow(named);
});
