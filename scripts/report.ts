/** What a JUnit report says, as `bun test --reporter=junit` writes it. */

export interface Count {
  passed: number;
  failed: number;
  skipped: number;
}

export interface Failure {
  /** The test's name behind those of its groups, and where it stands: "file:line", or the file alone. */
  readonly title: string;
  readonly place: string;
  /** The error and its stack, in lines; empty when the report has none. */
  readonly said: string;
}

const NAMES = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" } as const;

function plain(text: string): string {
  return text.replace(
    /&(?:#(\d+)|(lt|gt|amp|quot|apos));/g,
    (_all, code: string, name: keyof typeof NAMES) =>
      code === undefined ? NAMES[name] : String.fromCodePoint(Number(code)),
  );
}

function attribute(tag: string, name: string): string | undefined {
  const found = new RegExp(` ${name}="([^"]*)"`).exec(tag)?.[1];
  return found === undefined ? undefined : plain(found);
}

/** Undefined when the text is no whole report. */
export function parseReport(text: string): Count | undefined {
  const head = /<testsuites [^>]*>/.exec(text)?.[0];
  if (head === undefined || !text.trimEnd().endsWith("</testsuites>")) return undefined;
  const number = (name: string): number => Number(attribute(head, name) ?? Number.NaN);
  const [tests, failed, skipped] = [number("tests"), number("failures"), number("skipped")];
  const passed = tests - failed - skipped;
  return passed >= 0 ? { passed, failed, skipped } : undefined;
}

/** The tests that failed, in the order of the report. */
export function parseFailures(text: string): Failure[] {
  // A test that passed has no end tag of its own: each piece belongs to the tag that it begins with.
  return text.split("<testcase ").flatMap((piece) => {
    const failure = /<failure(?: [^>]*?)?(?:\/>|>([^<]*)<\/failure>)/.exec(piece);
    if (failure === null) return [];
    const tag = ` ${piece.slice(0, piece.indexOf(">"))}`;
    const [name, group] = [attribute(tag, "name") ?? "", attribute(tag, "classname")];
    const [file, line] = [attribute(tag, "file") ?? "", attribute(tag, "line")];
    return [
      {
        title: group ? `${group} > ${name}` : name,
        place: line === undefined ? file : `${file}:${line}`,
        said: plain(failure[1] ?? attribute(failure[0], "message") ?? "").trim(),
      },
    ];
  });
}
