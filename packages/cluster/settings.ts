/** The settings file, watched. */
import { readFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { describeError, WeftError } from "@weft/base";
import { DEFAULT_SETTINGS, parseSettings, type Settings } from "@weft/model";
import { MAX_TEXT, readDocuments, tooLarge } from "./documents.ts";
import { signatureOf, type WatchOptions, watchForChanges } from "./watch.ts";

/**
 * Reads a YAML or JSON settings file and keeps reading it. `onChange` is called before this returns, and then
 * whenever the outcome is another. An absent or empty file means the defaults. An invalid one changes
 * nothing: the last good settings come again (the defaults, if there never were any) with the error's text.
 */
export function watchSettings(
  file: string,
  onChange: (settings: Settings, error?: string) => void,
  options: WatchOptions = {},
): { stop(): void } {
  let good = DEFAULT_SETTINGS;
  let error: string | undefined;
  /** Signature of what was read; undefined when that must be done again. */
  let seen: string | undefined;
  let told = "";
  const look = (hasty: boolean): "settled" | "unsettled" => {
    const signature = signatureOf(file);
    const settled = signature?.settled ?? true;
    const state = settled ? "settled" : "unsettled";
    const text = signature?.text ?? "absent";
    if (text === seen || (!settled && !hasty)) return state;
    seen = settled ? text : undefined;
    good = signature === undefined ? DEFAULT_SETTINGS : readSettings(file, signature.size);
    error = undefined;
    return state;
  };
  return watchForChanges(
    dirname(file),
    (hasty) => {
      let state: "settled" | "unsettled" = "settled";
      try {
        state = look(hasty);
      } catch (problem) {
        error = describeError(problem);
      }
      const outcome = JSON.stringify([good, error]);
      if (outcome !== told) {
        told = outcome;
        if (error === undefined) onChange(good);
        else onChange(good, error);
      }
      return state;
    },
    options,
  );
}

function readSettings(file: string, size: number): Settings {
  if (size > MAX_TEXT) throw invalid(file, tooLarge(size));
  const { documents, errors } = readDocuments(readFileSync(file, "utf8"));
  const fault = errors[0];
  if (fault !== undefined) throw invalid(`${file}:${fault.line}`, fault.message);
  if (documents.length > 1) throw invalid(file, "settings are one document, not several");
  return parseSettings(documents[0]?.value);
}

const invalid = (place: string, message: string): WeftError =>
  new WeftError("invalid", `${basename(place)}: ${message}`, {
    object: place,
    hint: "Correct the file; the settings before it stay in force.",
  });
