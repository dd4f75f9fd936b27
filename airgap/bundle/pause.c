/* Holds a pod's namespaces until it is told to end, and reaps the orphans that pass to it as the first process. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal) {
  (void)signal;
  _exit(0);
}

static void reap(int signal) {
  (void)signal;
  while (waitpid(-1, NULL, WNOHANG) > 0)
    ;
}

int main(int count, char **arguments) {
  /* Upstream's prints its version for -v and is done: the Job by which kubeadm tries a cluster before an upgrade. */
  if (count > 1 && !strcmp(arguments[1], "-v"))
    return EXIT_SUCCESS;
  struct sigaction on_end = {.sa_handler = end}, on_child = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
  if (sigaction(SIGINT, &on_end, NULL) || sigaction(SIGTERM, &on_end, NULL) || sigaction(SIGCHLD, &on_child, NULL))
    return EXIT_FAILURE;
  for (;;)
    pause();
}
