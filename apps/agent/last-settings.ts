/**
 * The settings in force, kept on disk. A settings file that somebody has spoilt changes nothing while the agent
 * runs; without this copy the next start would take the defaults, and with them another tunnel and another MTU.
 */
import { readFileSync } from "node:fs";
import { replaceFile } from "@weft/base";
import { parseSettings, type Settings } from "@weft/model";

export class LastSettings {
  readonly #file: string;
  readonly #report: (error: unknown) => void;
  #text: string | undefined;

  /** `report` hears why the copy cannot be written; a copy that cannot be read is as good as none. */
  constructor(file: string, report: (error: unknown) => void) {
    this.#file = file;
    this.#report = report;
  }

  keep(settings: Settings): void {
    const text = `${JSON.stringify(settings, null, 2)}\n`;
    if (text === this.#text) return;
    try {
      replaceFile(this.#file, text);
      this.#text = text;
    } catch (error) {
      this.#report(error);
    }
  }

  read(): Settings | undefined {
    try {
      return parseSettings(JSON.parse(readFileSync(this.#file, "utf8")));
    } catch {
      return undefined;
    }
  }
}
