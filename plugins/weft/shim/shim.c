/*
 * The CNI plugin's fast way to the agent: hands its environment and its standard input to the agent's socket,
 * and prints what the agent answers. The agent runs the plugin's own code on them (plugins/weft/plugin.ts), so
 * nothing is decided here. Whatever goes otherwise than that (no agent, an answer that is cut off, a command
 * that needs no agent, too much input) makes this the whole executable, with the same input, by execve:
 * the file weft-loopback beside this one, called "weft".
 *
 * No C library: a start costs what the kernel takes. It touches: standard input and output, one unix socket,
 * one memfd, execve.
 *
 *   request    POST /v1/cni/exec, body: NAME=VALUE\0 for each CNI_ variable, \0, standard input
 *   answer     body: exit code, newline, standard output
 */
#define INPUT_MAX (1 << 20)
#define ENVIRONMENT_MAX (1 << 18)
#define ANSWER_MAX (1 << 20)
#define DEFAULT_SOCKET "/run/weft/agent.sock"
#define AF_UNIX 1
#define SOCK_STREAM_CLOEXEC (1 | 02000000)

typedef unsigned long word;

#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, LSEEK = 8, DUP3 = 292, SOCKET = 41, CONNECT = 42, SENDMSG = 46, EXECVE = 59, EXIT = 231, MEMFD = 319 };
static long sys(long number, word a, word b, word c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}
__asm__(".globl _start\n_start:\n xor %rbp, %rbp\n mov %rsp, %rdi\n and $-16, %rsp\n call shim\n");
#elif defined(__aarch64__)
enum { READ = 63, WRITE = 64, LSEEK = 62, DUP3 = 24, SOCKET = 198, CONNECT = 203, SENDMSG = 211, EXECVE = 221, EXIT = 94, MEMFD = 279 };
static long sys(long number, word a, word b, word c) {
  register long x8 __asm__("x8") = number;
  register word x0 __asm__("x0") = a;
  register word x1 __asm__("x1") = b;
  register word x2 __asm__("x2") = c;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
  return (long)x0;
}
__asm__(".globl _start\n_start:\n mov x29, #0\n mov x0, sp\n bl shim\n");
#else
#error "unknown architecture: the plugin works without this file"
#endif

static char request[ENVIRONMENT_MAX + INPUT_MAX + 256];
static char answer[ANSWER_MAX];
static char *input;
static long input_length;

/* Compilers call it for initialisers. */
void *memset(void *to, int value, word length) {
  for (char *p = to; length--;) *p++ = (char)value;
  return to;
}
static long length_of(const char *s) {
  long n = 0;
  while (s[n]) n++;
  return n;
}
static int begins(const char *s, const char *prefix) {
  while (*prefix)
    if (*s++ != *prefix++) return 0;
  return 1;
}
static char *append(char *to, const char *s) {
  while (*s) *to++ = *s++;
  return to;
}
static int write_all(int fd, const char *bytes, long length) {
  while (length > 0) {
    long n = sys(WRITE, fd, (word)bytes, length);
    if (n == -4) continue; /* EINTR */
    if (n <= 0) return 0;
    bytes += n;
    length -= n;
  }
  return 1;
}

/* To the socket: whoever closes it early must not end us by a signal (MSG_NOSIGNAL). */
static int send_all(int fd, const char *bytes, long length) {
  while (length > 0) {
    word piece[2] = {(word)bytes, (word)length};
    word message[7] = {0, 0, (word)piece, 1, 0, 0, 0};
    long n = sys(SENDMSG, fd, (word)message, 0x4000);
    if (n == -4) continue; /* EINTR */
    if (n <= 0) return 0;
    bytes += n;
    length -= n;
  }
  return 1;
}

/* The whole executable takes over. Input that was read goes along in a memory file. */
static void whole(char **argv, char **envp) {
  static char path[4096];
  long slash = -1, i;
  if (input_length > 0) {
    int fd = (int)sys(MEMFD, (word)"weft-input", 0, 0);
    if (fd < 0 || !write_all(fd, input, input_length)) sys(EXIT, 1, 0, 0);
    /* What was not read yet: more than fits here. */
    for (long n; (n = sys(READ, 0, (word)answer, sizeof answer)) > 0;)
      if (!write_all(fd, answer, n)) sys(EXIT, 1, 0, 0);
    sys(LSEEK, fd, 0, 0);
    sys(DUP3, fd, 0, 0);
  }
  for (i = 0; argv[0][i]; i++)
    if (argv[0][i] == '/') slash = i;
  if (slash >= 0 && slash + 16 < (long)sizeof path) {
    for (i = 0; i <= slash; i++) path[i] = argv[0][i];
    *append(path + slash + 1, "weft-loopback") = 0;
    argv[0] = "weft";
    sys(EXECVE, (word)path, (word)argv, (word)envp);
  }
  static const char lost[] =
      "{\"code\":5,\"msg\":\"weft-loopback is not beside the plugin weft\",\"details\":\"Install both files of Weft.\"}\n";
  write_all(1, lost, sizeof lost - 1);
  sys(EXIT, 1, 0, 0);
}

/* The value of "socket" in the configuration, or the default. 0: not to be had without a JSON parser. */
static int find_socket(char *to, long room) {
  static const char key[] = "\"socket\"";
  for (long i = 0; i + (long)sizeof key < input_length; i++) {
    if (!begins(input + i, key)) continue;
    char *p = input + i + sizeof key - 1, *end = input + input_length;
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) p++;
    if (p == end || *p++ != ':') continue;
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) p++;
    if (p == end || *p++ != '"' || *p != '/') return 0;
    for (long n = 0; p < end && n < room; p++) {
      if (*p == '"') return to[n] = 0, 1;
      if (*p == '\\') return 0;
      to[n++] = *p;
    }
    return 0;
  }
  *append(to, DEFAULT_SOCKET) = 0;
  return 1;
}

static char *number(char *to, long value) {
  char digits[24];
  int n = 0;
  do digits[n++] = '0' + value % 10;
  while (value /= 10);
  while (n) *to++ = digits[--n];
  return to;
}

void shim(word *stack) {
  long argc = (long)stack[0];
  char **argv = (char **)(stack + 1), **envp = argv + argc + 1, **e, *body, *p;
  struct {
    unsigned short family;
    char path[108];
  } address = {AF_UNIX, {0}};
  int asks = 0;
  long got = 0, want = -1, head = 0, n;
  for (e = envp; *e; e++) {
    /* VERSION and whatever is no command need no agent; a fault file is for the whole executable's tests. */
    if (begins(*e, "CNI_COMMAND=")) asks = begins(*e + 12, "ADD") || begins(*e + 12, "DEL") || begins(*e + 12, "CHECK");
    if (begins(*e, "WEFT_FAULT_FILE=")) whole(argv, envp);
  }
  if (argc != 1 || !asks) whole(argv, envp);

  /* The head is written before the body later: its length is known only then. */
  body = p = request + 256;
  for (e = envp; *e; e++) {
    if (!begins(*e, "CNI_")) continue;
    n = length_of(*e) + 1;
    if (p - body + n >= ENVIRONMENT_MAX) whole(argv, envp);
    p = append(p, *e);
    *p++ = 0;
  }
  *p++ = 0;
  input = p;
  while ((n = sys(READ, 0, (word)(input + input_length), INPUT_MAX - input_length)) > 0 || n == -4)
    if (n > 0 && (input_length += n) == INPUT_MAX) whole(argv, envp);
  if (n < 0 || !find_socket(address.path, 107)) whole(argv, envp);

  int fd = (int)sys(SOCKET, AF_UNIX, SOCK_STREAM_CLOEXEC, 0);
  if (fd < 0 || sys(CONNECT, fd, (word)&address, sizeof address) < 0) whole(argv, envp);
  char start[256], *s = append(start, "POST /v1/cni/exec HTTP/1.1\r\nHost: weft\r\nConnection: close\r\nContent-Length: ");
  s = append(number(s, input + input_length - body), "\r\n\r\n");
  if (!send_all(fd, start, s - start) || !send_all(fd, body, input + input_length - body)) whole(argv, envp);

  while (want < 0 || got < want) {
    n = sys(READ, fd, (word)(answer + got), ANSWER_MAX - 1 - got);
    if (n == -4) continue;
    if (n <= 0) break;
    got += n;
    for (; want < 0 && head + 4 <= got; head++) {
      static const char name[] = "\r\ncontent-length:";
      long i = 0;
      if (!begins(answer + head, "\r\n\r\n")) continue;
      for (char *h = answer; h < answer + head && want < 0; h++) {
        for (i = 0; name[i] && (h[i] | (h[i] >= 'A' && h[i] <= 'Z' ? 32 : 0)) == name[i];) i++;
        if (name[i]) continue;
        for (h += i, want = 0; *h == ' ';) h++;
        while (*h >= '0' && *h <= '9') want = want * 10 + *h++ - '0';
      }
      if (want < 0) whole(argv, envp);
      head += 4;
      want += head;
      break;
    }
  }
  /* Anything but a whole answer of our own agent: ask again in the way that knows what to do about it. */
  if (want < 0 || got < want || !begins(answer, "HTTP/1.1 200")) whole(argv, envp);
  if (want - head < 2 || answer[head + 1] != '\n') whole(argv, envp);
  write_all(1, answer + head + 2, want - head - 2);
  sys(EXIT, answer[head] - '0', 0, 0);
}
