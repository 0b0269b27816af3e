/**
 * `$(NAME)` in a container's command, args and values, as Kubernetes expands it (API reference of Container,
 * "command" and EnvVar "value"): a name that is not defined stays as it is, and `$$` is a dollar sign, so that
 * `$$(NAME)` is the text `$(NAME)`.
 */
export function expand(text: string, variables: ReadonlyMap<string, string>): string {
  return text.replace(/\$\$|\$\(([^)]*)\)/g, (whole, name: string | undefined) =>
    name === undefined ? "$" : (variables.get(name) ?? whole),
  );
}
