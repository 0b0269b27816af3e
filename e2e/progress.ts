/** What the run prints: one line an event, with the seconds since its start. */
import { describeError } from "@weft/base";

const started = performance.now();

const stamp = (): string => `[${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s]`;

export function say(text: string): void {
  console.log(`${stamp()} ${text}`);
}

/** Says a line with the time that `work` took, also when it fails. */
export async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const from = performance.now();
  const took = (): string => `${((performance.now() - from) / 1000).toFixed(1)} s`;
  try {
    const value = await work();
    say(`${what}: ${took()}`);
    return value;
  } catch (error) {
    say(`${what}: failed after ${took()}: ${describeError(error)}`);
    throw error;
  }
}
