/** Counts out of a JUnit report, as `bun test --reporter=junit` writes it. */

export interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

/** Undefined when the text is no whole report. */
export function parseReport(text: string): Count | undefined {
  const head = /<testsuites [^>]*>/.exec(text)?.[0];
  if (head === undefined || !text.trimEnd().endsWith("</testsuites>")) return undefined;
  const number = (name: string): number => Number(new RegExp(` ${name}="([0-9]+)"`).exec(head)?.[1]);
  const [tests, failed, skipped] = [number("tests"), number("failures"), number("skipped")];
  const passed = tests - failed - skipped;
  return passed >= 0 ? { passed, failed, skipped } : undefined;
}
