/*
 * Runs a command inside of a machine:
 *
 *   enter PID CGROUP... -- COMMAND [ARGUMENT...]
 *
 * Joins the cgroup directories (so that the command is accounted, and found, as the machine's), then all namespaces
 * of PID, and runs COMMAND as a child, because a PID namespace holds only children. The child dies with this
 * process; SIGTERM, SIGINT and SIGHUP are passed on; the exit code is the child's, or 128 and its signal's number.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile pid_t child;

static void pass_on(int signal_number) {
  if (child > 0) kill(child, signal_number);
}

static void die(const char *what) {
  fprintf(stderr, "enter: %s: %s\n", what, strerror(errno));
  exit(125);
}

int main(int argc, char **argv) {
  static const char *const kinds[] = {"cgroup", "ipc", "uts", "net", "pid", "mnt"};
  enum { KINDS = sizeof kinds / sizeof *kinds };
  int descriptors[KINDS], i, status;
  char path[4096];

  if (argc < 4) {
    fprintf(stderr, "usage: enter PID CGROUP... -- COMMAND [ARGUMENT...]\n");
    return 125;
  }
  for (i = 0; i < KINDS; i++) {
    snprintf(path, sizeof path, "/proc/%s/ns/%s", argv[1], kinds[i]);
    if ((descriptors[i] = open(path, O_RDONLY | O_CLOEXEC)) < 0) die(path);
  }
  for (i = 2; i < argc && strcmp(argv[i], "--") != 0; i++) {
    snprintf(path, sizeof path, "%s/cgroup.procs", argv[i]);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0 || write(file, "0", 1) != 1) die(path);
    close(file);
  }
  char **command = argv + i + 1;
  if (i + 1 >= argc) {
    fprintf(stderr, "enter: no command\n");
    return 125;
  }
  for (i = 0; i < KINDS; i++)
    if (setns(descriptors[i], 0) < 0) die(kinds[i]);
  if (chdir("/") < 0) die("/");

  sigset_t passed, before;
  sigemptyset(&passed);
  sigaddset(&passed, SIGTERM);
  sigaddset(&passed, SIGINT);
  sigaddset(&passed, SIGHUP);
  sigprocmask(SIG_BLOCK, &passed, &before);
  if ((child = fork()) < 0) die("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    execvp(command[0], command);
    die(command[0]);
  }
  signal(SIGTERM, pass_on);
  signal(SIGINT, pass_on);
  signal(SIGHUP, pass_on);
  sigprocmask(SIG_SETMASK, &before, NULL);
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) die("waitpid");
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
