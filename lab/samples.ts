/** The sample manifests, as text inside the program: a compiled executable has no files beside it. */
import echo from "./manifests/echo.yaml" with { type: "text" };
import host from "./manifests/host.yaml" with { type: "text" };
import pair from "./manifests/pair.yaml" with { type: "text" };

export interface SampleFile {
  readonly file: string;
  readonly text: string;
}

export const SAMPLES: readonly SampleFile[] = [
  { file: "echo.yaml", text: echo },
  { file: "host.yaml", text: host },
  { file: "pair.yaml", text: pair },
];
