/**
 * Patterns of schemas that somebody brought: regular expressions of RE2, as in Kubernetes, whose time grows with the
 * text and not exponentially. There are no lookaheads and no back references.
 */
import { RE2JS } from "re2js";
import { badRequest } from "../errors.ts";

/** Characters of a text times steps of a pattern's program: well below a second in the worst of cases. */
const MOST_WORK = 1 << 22;

export interface Pattern {
  /** Throws 400 for a text that is too long. */
  test(text: string): boolean;
  /** The pattern itself: Ajv takes two that have the same text for one. */
  toString(): string;
}

/** Throws SyntaxError with RE2's own words. */
export function compilePattern(pattern: string): Pattern {
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(pattern);
  } catch (cause) {
    throw new SyntaxError((cause as Error).message, { cause });
  }
  const most = Math.floor(MOST_WORK / Math.max(1, compiled.programSize()));
  return {
    toString: () => pattern,
    test(text) {
      if (text.length <= most) return compiled.test(text);
      const shown = pattern.length > 60 ? `${pattern.slice(0, 60)}...` : pattern;
      throw badRequest(
        `a text of ${text.length} characters is too long to be compared with the pattern ${JSON.stringify(shown)}: ${most} at most`,
      );
    },
  };
}
