/** The suite can fail: a plugin that does nothing passes only what doing nothing satisfies. */
import { expect, test } from "bun:test";
import { join } from "node:path";

test("a plugin that does nothing does not conform", () => {
  const { exitCode, stderr } = Bun.spawnSync(
    [process.execPath, "test", join(import.meta.dir, "testing", "broken.ts")],
    { env: { PATH: "/usr/bin:/bin", NO_COLOR: "1" } },
  );
  expect(exitCode).toBe(1);
  const lines = stderr.toString().split("\n");
  const titles = (mark: string): string[] =>
    lines.filter((l) => l.startsWith(`(${mark})`)).map((l) => l.replace(/^.* > | \[.*$/g, ""));
  const failed = titles("fail");
  for (const title of [
    "VERSION lists the supported versions",
    "a version that is not supported is error 1",
    "an unknown command is error 4",
    "ADD without CNI_NETNS is error 4 and names it",
    "CNI_IFNAME=a/b is error 4",
    'standard input "{" is error 6',
    "a configuration without a name is error 7",
    "CHECK without prevResult fails",
    "ADD at 1.1.0 prints the form of that version",
    "ADD, CHECK, DEL and DEL again at 0.4.0",
    "CHECK at 1.1.0 fails after DEL",
    "ADD at 0.4.0 passes on what came before",
    "STATUS succeeds with nothing but a configuration",
  ]) {
    expect(failed).toContain(title);
  }
  expect(titles("pass")).toEqual([]);
});
