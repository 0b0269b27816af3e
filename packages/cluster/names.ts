/** The forms of names in Kubernetes objects, with the words that its own validation uses. */

const LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN = `${LABEL}(\\.${LABEL})*`;
const QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const ENVIRONMENT = "[-._a-zA-Z][-._a-zA-Z0-9]*";

const matches = (pattern: string, text: string): boolean => new RegExp(`^(?:${pattern})$`).test(text);

function form(text: string, pattern: string, limit: number, what: string): string | undefined {
  if (text.length > limit) return `must be no more than ${limit} characters`;
  return matches(pattern, text) ? undefined : what;
}

/** Why the text is no RFC 1123 label (at most 63 characters), or undefined when it is one. */
export const labelFault = (text: string): string | undefined =>
  form(
    text,
    LABEL,
    63,
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and " +
      "end with an alphanumeric character (e.g. 'my-name')",
  );

/** Why the text is no RFC 1035 label, which begins with a letter, or undefined when it is one. */
export const label1035Fault = (text: string): string | undefined =>
  labelFault(text) === undefined && !/^\d/.test(text)
    ? undefined
    : "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

/** Why the text is no RFC 1123 subdomain (at most 253 characters), or undefined when it is one. */
export const subdomainFault = (text: string): string | undefined =>
  form(
    text,
    SUBDOMAIN,
    253,
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must " +
      "start and end with an alphanumeric character (e.g. 'example.com')",
  );

/** Why the text is no key of a label: an optional subdomain and slash, then a name of at most 63 characters. */
export function labelKeyFault(text: string): string | undefined {
  const slash = text.indexOf("/");
  const prefix = slash < 0 ? undefined : text.slice(0, slash);
  if (prefix !== undefined && subdomainFault(prefix) !== undefined) {
    return `prefix part: ${subdomainFault(prefix)}`;
  }
  return form(
    text.slice(slash + 1),
    QUALIFIED,
    63,
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an " +
      "alphanumeric character (e.g. 'app.kubernetes.io/name')",
  );
}

export const labelValueFault = (text: string): string | undefined =>
  text === ""
    ? undefined
    : form(
        text,
        QUALIFIED,
        63,
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must " +
          "start and end with an alphanumeric character (e.g. 'MyValue')",
      );

export const environmentNameFault = (text: string): string | undefined =>
  matches(ENVIRONMENT, text)
    ? undefined
    : "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and " +
      "must not start with a digit (e.g. 'MY_ENV.VAR-NAME')";
