/** weft completion: words for the shell, from the commands themselves. */

import { WeftError } from "@weft/base";
import type { Command } from "commander";
import { example } from "../help.ts";
import { print } from "../output.ts";

interface Words {
  readonly path: string;
  readonly words: readonly string[];
}

/** For each command, what may follow it. */
function wordsOf(command: Command, path: string): Words[] {
  const visible = command.createHelp().visibleCommands(command);
  const own = [
    ...visible.map((c) => c.name()).filter((n) => n !== "help"),
    ...command.options.map((o) => o.long).filter((o) => o !== undefined && o !== null),
    "--help",
  ];
  return [
    { path, words: own },
    ...visible.flatMap((c) => (c.name() === "help" ? [] : wordsOf(c, `${path} ${c.name()}`))),
  ];
}

function bash(all: readonly Words[]): string {
  const cases = all.map((w) => `    "${w.path}") words="${w.words.join(" ")}" ;;`).join("\n");
  return `# bash completion for weft: source <(weft completion bash)
_weft() {
  local path="weft" word words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) path="$path $word" ;; esac
  done
  case "$path" in
${cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _weft weft ./weft
`;
}

const zsh = (all: readonly Words[]): string => `#compdef weft
# zsh completion for weft: source <(weft completion zsh)
autoload -U +X bashcompinit && bashcompinit
${bash(all)}`;

function fish(all: readonly Words[]): string {
  const lines = all.flatMap(({ path, words }) => {
    const seen = path.split(" ").slice(1);
    const last = seen.at(-1);
    const condition = last === undefined ? "__fish_use_subcommand" : `__fish_seen_subcommand_from ${last}`;
    return words.map((w) =>
      w.startsWith("--")
        ? `complete -c weft -n "${condition}" -l ${w.slice(2)}`
        : `complete -c weft -f -n "${condition}" -a ${w}`,
    );
  });
  return `# fish completion for weft: weft completion fish | source\n${lines.join("\n")}\n`;
}

const SHELLS: Readonly<Record<string, (all: readonly Words[]) => string>> = { bash, zsh, fish };

export function completionCommand(program: Command): void {
  const completion = program
    .command("completion")
    .description("print completion for a shell: bash, zsh or fish")
    .argument("<shell>", Object.keys(SHELLS).join(", "))
    .action((shell: string) => {
      const write = SHELLS[shell];
      if (write === undefined) {
        throw new WeftError("invalid", `no completion for "${shell}"`, {
          hint: `There is: ${Object.keys(SHELLS).join(", ")}.`,
        });
      }
      print(write(wordsOf(program, "weft")));
    });
  example(completion, "source <(weft completion bash)");
}
